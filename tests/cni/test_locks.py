from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cni_provision.cni import locks
from cni_provision.cni.steps import Wait, drive, wait
from cni_provision.cni.types import CNIError

pytestmark = pytest.mark.usefixtures("no_new_descriptors")


def exclusive(folder: str, name: str, timeout: float) -> locks.Held:
    return drive(locks.exclusive(folder, name, timeout), wait)


def shared(folder: str, name: str, timeout: float) -> locks.Held:
    return drive(locks.shared(folder, name, timeout), wait)


def test_one_at_a_time_and_nothing_left(tmp_path: Path) -> None:
    with exclusive(str(tmp_path), "container c1", 1):
        with (
            pytest.raises(CNIError, match=r"container c1 is in use") as caught,
            exclusive(str(tmp_path), "container c1", 0.05),
        ):
            pass
        assert caught.value.code == 11
        with exclusive(str(tmp_path), "container c2", 0):
            pass
    assert os.listdir(tmp_path) == []


def test_shared_holders_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    folder = str(tmp_path / "made")
    with (
        shared(folder, "network n", 0),
        shared(folder, "network n", 0),
        pytest.raises(CNIError),
        exclusive(folder, "network n", 0.05),
    ):
        pass
    with exclusive(folder, "network n", 0), pytest.raises(CNIError), shared(folder, "network n", 0):
        pass


def test_whoever_wants_it_alone_gets_it_though_there_is_always_one_who_shares(tmp_path: Path) -> None:
    begun, over = threading.Semaphore(0), threading.Event()

    def share() -> None:
        while not over.is_set():
            with shared(str(tmp_path), "network n", 30):
                begun.release()
                over.wait(0.02)

    threads = [threading.Thread(target=share) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert begun.acquire(timeout=30)
            with exclusive(str(tmp_path), "network n", 30):
                pass
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_threads_take_turns_though_the_file_comes_and_goes(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with exclusive(str(tmp_path), "x", 30):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (400, 1)


def test_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    code = """
import sys
from cni_provision.cni import locks, steps
for _ in range(50):
    with steps.drive(locks.exclusive(sys.argv[1], "x", 30), steps.wait):
        number = int(open(sys.argv[2]).read())
        open(sys.argv[2], "w").write(str(number + 1))
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "locks"), str(counter)]
    children = [subprocess.Popen(command) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert counter.read_text() == "200"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CNIError, match="cannot open the lock") as caught,
        shared(str(tmp_path / "file"), "x", 0),
    ):
        pass
    assert caught.value.code == 5


def test_whoever_waits_says_so_and_waits_elsewhere(tmp_path: Path) -> None:
    held = exclusive(str(tmp_path), "x", 0)
    waiting = locks.exclusive(str(tmp_path), "x", 5)
    assert [next(waiting), waiting.send(None)] == [Wait(0.001), Wait(0.002)]
    with held:
        pass
    with pytest.raises(StopIteration) as end:
        waiting.send(None)
    with end.value.value:
        assert len(os.listdir(tmp_path)) == 1
