"""Records on a real disk; each test has a `/run` of its own in a thread that left the process's mounts."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cni_provision.net import record
from cni_provision.net.errors import NetError
from cni_provision.net.record import Attachment, Made

pytestmark = pytest.mark.root
ONE = Attachment("bridge", "pods", "one", "eth0")
OTHER = Attachment("bridge", "pods", "other", "eth0")
PORTS = Attachment("portmap", "pods", "one", "eth0")
ELSEWHERE = Attachment("bridge", "pods-2", "one", "eth0")
MADE = Made("veth01020304", 7, {"masquerade": ["10.42.0.2/24"]})
CLONE_NEWNS = 0x20000


def on_an_own_run(test: Callable[[], Any]) -> None:
    """Run `test` where `/run` is an empty tmpfs that goes with the thread."""

    def enter() -> None:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0
        for argv in (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "tmpfs", "/run"]):
            subprocess.run(argv, check=True)
        test()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(enter).result()


def test_what_is_written_is_read_until_it_is_removed() -> None:
    def story() -> None:
        assert record.read(ONE) is None
        record.remove(ONE)
        with record.held(ONE):
            record.write(ONE, Made("veth01020304"))
            record.write(ONE, MADE)
        assert record.read(ONE) == MADE
        assert record.read(PORTS) is None
        folder = Path(record.DIRECTORY)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
        record.restore(ONE, Made("before"))
        assert record.read(ONE) == Made("before")
        record.restore(ONE, None)
        assert record.every() == []
        assert [file.name for file in folder.iterdir()] == ["lock"]

    on_an_own_run(story)


def test_records_of_a_network_and_what_gc_forgets() -> None:
    def story() -> None:
        for one in (ONE, OTHER, PORTS, ELSEWHERE):
            with record.held(one):
                record.write(one, MADE)
        assert {one for one, _ in record.of_network("bridge", "pods")} == {ONE, OTHER}
        assert {one for one, _ in record.every()} == {ONE, OTHER, PORTS, ELSEWHERE}
        with record.held(OTHER):
            record.gc("bridge", "pods", set())
        assert {one for one, _ in record.every()} == {OTHER, PORTS, ELSEWHERE}, "one has a call under way"
        record.gc("bridge", "pods", {OTHER.owner})
        record.gc("bridge", "pods", set())
        assert {one for one, _ in record.every()} == {PORTS, ELSEWHERE}

    on_an_own_run(story)


BROKEN = {
    "empty": b"", "cut": b'{"format": 1, "plugin": "bri', "no object": b"[1]", "other format": b'{"format": 2}',
    "a name that is none": b'{"format": 1, "plugin": "bridge", "network": "a; flush", "container_id": "one", '
    b'"ifname": "eth0", "port": "", "index": 0, "rules": {}}',
    "wrong types": b'{"format": 1, "plugin": "bridge", "network": "pods", "container_id": "one", "ifname": "eth0", '
    b'"port": 7, "index": "x", "rules": []}',
    "of somebody else": b'{"format": 1, "plugin": "bridge", "network": "pods", "container_id": "two", '
    b'"ifname": "eth0", "port": "", "index": 0, "rules": {}}',
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe\0",
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_as_good_as_none(content: bytes) -> None:
    def story() -> None:
        with record.held(ONE):
            record.write(ONE, MADE)
        Path(record.DIRECTORY, ONE.file).write_bytes(content)
        assert record.read(ONE) is None
        assert all(one != ONE for one, _ in record.every())
        record.write(ONE, MADE)
        assert record.read(ONE) == MADE

    on_an_own_run(story)


@pytest.mark.parametrize("kind", ["foreign", "link", "fifo", "folder"])
def test_what_root_did_not_write_is_not_read(kind: str) -> None:
    def story() -> None:
        with record.held(ONE):
            record.write(ONE, MADE)
        file = Path(record.DIRECTORY, ONE.file)
        if kind == "foreign":
            os.chown(file, 1234, 1234)
        else:
            file.rename("/run/kept")
            make = {
                "link": lambda: file.symlink_to("/run/kept"),
                "fifo": lambda: os.mkfifo(file),
                "folder": file.mkdir,
            }
            make[kind]()
        assert record.read(ONE) is None

    on_an_own_run(story)


def test_what_a_killed_call_had_begun_to_write_goes_with_del_and_gc() -> None:
    def story() -> None:
        with record.held(ONE):
            record.write(ONE, MADE)
        begun = [Path(record.DIRECTORY, f"{one.file}.new") for one in (ONE, OTHER, PORTS, ELSEWHERE)]
        for file in begun:
            file.write_text("{")
        record.remove(ONE)
        assert not begun[0].exists()
        begun[0].write_text("{")
        with record.held(OTHER):
            record.gc("bridge", "pods", set())
        assert [file.exists() for file in begun] == [False, True, True, True], "OTHER's call is under way"
        record.gc("bridge", "pods", set())
        assert [file.exists() for file in begun] == [False, False, True, True]
        assert record.every() == []

    on_an_own_run(story)


def test_a_full_run_is_an_error_and_leaves_the_old_record() -> None:
    def story() -> None:
        with record.held(ONE):
            record.write(ONE, MADE)
        subprocess.run(["mount", "-o", "remount,ro", "/run"], check=True)
        with pytest.raises(NetError, match="cannot note the attachment in /run/cni-provision/attachments: Read-only"):
            record.write(ONE, Made("other"))
        assert record.read(ONE) == MADE

    on_an_own_run(story)


def test_the_lock_is_for_one_attachment_and_plugin() -> None:
    def story() -> None:
        entered = threading.Event()

        def wait() -> None:
            with record.held(ONE):
                entered.set()

        with record.held(ONE):
            with record.held(OTHER), record.held(PORTS):
                pass
            with record.held_if_free(ONE) as free:
                assert not free
            thread = threading.Thread(target=wait)
            thread.start()
            assert not entered.wait(0.1)
        thread.join(5)
        assert entered.is_set()
        with record.held_if_free(ONE) as free:
            assert free

    on_an_own_run(story)
