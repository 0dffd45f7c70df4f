"""Whatever the other end says or does: the answer, Python before anything was sent, or an error after that."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.peer import CALL, READY, SECONDS, Conversation, Script, answer, call, frame

Heard = list[tuple[bytes, bytes]]


def saying(*pieces: bytes) -> Script:
    """Ready, the request, then these, then the end."""

    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(READY)
        heard.append(launcher.hear())
        for piece in pieces:
            launcher.say(piece)
        heard.append(launcher.hear())

    return script


def asking(*requests: bytes) -> Script:
    """These delegates one after the other, then an answer."""

    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(READY)
        heard.append(launcher.hear())
        for request in requests:
            launcher.say(frame(b"E", request))
            heard.append(launcher.hear())
        launcher.say(answer(b"{}"))
        heard.append(launcher.hear())

    return script


def outcome(payload: bytes) -> tuple[int, bytes, bytes]:
    """An X: code, stdout, stderr."""
    code, size = struct.unpack("<iI", payload[:8])
    return code, payload[8 : 8 + size], payload[8 + size :]


def error(stdout: bytes) -> int:
    found = json.loads(stdout)
    assert found["cniVersion"] == "1.0.0"
    return int(found["code"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def test_the_answer_is_written_and_acknowledged(executable: Path, path: Path) -> None:
    done = call(executable, path, saying(answer(b'{"a": 1}', b"a warning", code=3)), b'{"name": "x"}', CNI_ARGS="A=1")
    assert (done.code, done.stdout, done.stderr) == (3, b'{"a": 1}', b"a warning")
    (kind, request), acknowledged = done.heard
    name, *variables = request.partition(b"\0\0")[0].split(b"\0")
    assert (kind, name) == (b"R", b"toy")
    assert {b"CNI_COMMAND=ADD", b"CNI_ARGS=A=1"} <= set(variables)
    assert all(variable.startswith(b"CNI_") for variable in variables)
    assert request.partition(b"\0\0")[2] == b'{"name": "x"}'
    assert acknowledged == (b"K", b"")


def test_the_namespace_is_handed_over(executable: Path, path: Path) -> None:
    inodes = []

    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(READY)
        launcher.hear()
        inodes.extend(os.fstat(descriptor).st_ino for descriptor in launcher.descriptors)
        launcher.say(answer(b""))

    assert call(executable, path, script, CNI_NETNS="/proc/self/ns/net").code == 0
    assert inodes == [os.stat("/proc/self/ns/net").st_ino]


@pytest.mark.parametrize(
    "greeting",
    [b"", b"cni-provision 1 cold other digest\n", b"cni-provision 2 ready x\n", b"cni-provision 1 rea", b"x" * 300],
)
def test_python_does_it_where_the_greeting_is_another(executable: Path, path: Path, greeting: bytes) -> None:
    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(greeting)

    done = call(executable, path, script, b"config")
    assert (done.code, done.stdout) == (7, b"cold\nconfig")


def test_python_does_it_where_nobody_listens_or_speaks(executable: Path, path: Path) -> None:
    assert call(executable, path, None, b"config").stdout == b"cold\nconfig"

    def silent(launcher: Conversation, heard: Heard) -> None:
        heard.append(launcher.hear())

    done = call(executable, path.with_name("silent"), silent, b"config")
    assert (done.stdout, done.heard) == (b"cold\nconfig", [(b"", b"")])


@pytest.mark.parametrize(
    "environment",
    [
        {"CNI_PROVISION_SOCKET": ""},
        {"CNI_COMMAND": ""},
        {"CNI_CONTAINERID": ""},
        {"CNI_NETNS": ""},
        {"CNI_COMMAND": "DEL", "CNI_IFNAME": ""},
        {"CNI_COMMAND": "GC", "CNI_PATH": ""},
    ],
)
def test_some_callers_are_never_served(executable: Path, path: Path, environment: dict[str, str]) -> None:
    """Those that Python answers before it has read stdin, which may stay open."""
    assert call(executable, path, None, b"", **environment).stdout == b"cold\n"


@pytest.mark.parametrize(
    "environment",
    [
        {"CNI_COMMAND": "DEL", "CNI_NETNS": ""},
        {"CNI_COMMAND": "GC", "CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": ""},
        {"CNI_COMMAND": "STATUS", "CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": "", "CNI_PATH": ""},
        {"CNI_COMMAND": "DANCE", "CNI_PATH": ""},
    ],
)
def test_no_more_than_a_verb_needs(executable: Path, path: Path, environment: dict[str, str]) -> None:
    assert call(executable, path, saying(answer(b"warm")), **environment).stdout == b"warm"


def test_a_late_greeting_is_waited_for_while_a_server_lives(executable: Path, path: Path) -> None:
    def late(launcher: Conversation, heard: Heard) -> None:
        time.sleep(0.4)
        saying(answer(b"late"))(launcher, heard)

    with path.with_name("alive").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert call(executable, path, late).stdout == b"late"


@pytest.mark.parametrize("size", range(len(answer(b"{}", b"warning"))))
def test_a_server_that_ends_within_the_answer_is_an_error(executable: Path, path: Path, size: int) -> None:
    done = call(executable, path, saying_less(answer(b"{}", b"warning")[:size]))
    assert (done.code, error(done.stdout)) == (1, 11)


def saying_less(content: bytes) -> Script:
    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(READY)
        heard.append(launcher.hear())
        launcher.say(content)

    return script


@pytest.mark.parametrize(
    "said",
    [
        b"A\xff\xff\xff\xff",
        frame(b"Q"),
        frame(b"A", b"\0\0\0"),
        frame(b"A", b"\0\xff\xff\xff\xff{}"),
        frame(b"E", b"/bin/true"),
        frame(b"E", b"/bin/true\0ADD"),
    ],
)
def test_what_is_no_frame_is_an_error(executable: Path, path: Path, said: bytes) -> None:
    done = call(executable, path, saying_less(said))
    assert (done.code, error(done.stdout)) == (1, 999)


def delegate(folder: Path, script: str) -> bytes:
    path = folder / "delegate"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return bytes(path) + b"\0DEL\0stdin of it"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("cat; echo $CNI_COMMAND >&2; exit 9", (9, b"stdin of it", b"DEL\n")),
        ("kill -9 $$", (-9, b"", b"")),
        ("exec true", (0, b"", b"")),
        ("sleep 30 & echo done", (0, b"done\n", b"")),
        ("head -c 1000000 /dev/zero | tr '\\0' x", (0, b"x" * 1000000, b"")),
        ("exec >&- 2>&-; sleep 0.1; exit 4", (4, b"", b"")),
        ("head -c 17000000 /dev/zero; sleep 30", (-256, b"", b"")),
    ],
)
def test_a_delegate(executable: Path, path: Path, script: str, expected: tuple[int, bytes, bytes]) -> None:
    done = call(executable, path, asking(delegate(path.parent, script)))
    assert [kind for kind, _ in done.heard] == [b"R", b"X", b"K"]
    assert outcome(done.heard[1][1]) == expected


def test_delegates_with_much_stdin_and_many_of_them(executable: Path, path: Path) -> None:
    path_of = bytes(path.parent / "delegate")
    delegate(path.parent, "cat")
    done = call(executable, path, asking(*(path_of + b"\0ADD\0" + b"x" * size for size in (0, 70000, 3_000_000))))
    assert [len(outcome(payload)[1]) for kind, payload in done.heard if kind == b"X"] == [0, 70000, 3_000_000]


def test_what_cannot_be_executed(executable: Path, path: Path) -> None:
    done = call(executable, path, asking(b"/absent\0ADD\0", b"/etc/passwd\0ADD\0"))
    assert [outcome(payload)[0] - 256 for kind, payload in done.heard if kind == b"X"] == [2, 13]


def test_a_delegate_ends_with_its_server(executable: Path, path: Path) -> None:
    pids = path.with_name("pid")

    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(READY)
        launcher.hear()
        launcher.say(frame(b"E", delegate(path.parent, f"echo $$ > {pids}.new; mv {pids}.new {pids}; exec sleep 60")))
        wait_for(pids.exists)

    done = call(executable, path, script)
    assert (done.code, error(done.stdout)) == (1, 11)
    wait_for(lambda: not Path(f"/proc/{pids.read_text().strip()}").exists())


def test_a_delegate_ends_with_the_launcher(executable: Path, path: Path) -> None:
    pids = path.with_name("pid")

    def script(launcher: Conversation, heard: Heard) -> None:
        launcher.say(READY)
        launcher.hear()
        shell = f"echo $$ $PPID > {pids}.new; mv {pids}.new {pids}; exec sleep 60"
        launcher.say(frame(b"E", delegate(path.parent, shell)))
        wait_for(pids.exists)
        os.kill(int(pids.read_text().split()[1]), signal.SIGKILL)
        heard.append(launcher.hear())

    assert call(executable, path, script).code == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{pids.read_text().split()[0]}").exists())


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_without_a_reader_nothing_is_acknowledged(executable: Path, path: Path) -> None:
    wrapped = path.with_name("toy")
    wrapped.write_text(f'#!/bin/sh\n{{ sleep 0.1; "{executable}"; echo $? > {path}.code; }} | true\n')
    wrapped.chmod(0o755)
    done = call(wrapped, path, saying(answer(b"x" * 100000)), CNI_COMMAND="DEL")
    assert [kind for kind, _ in done.heard] == [b"R", b""]
    wait_for(lambda: Path(f"{path}.code").exists() and bool(Path(f"{path}.code").read_text()))
    assert Path(f"{path}.code").read_text() == "1\n"


def test_a_configuration_larger_than_a_frame_is_an_error(executable: Path, path: Path) -> None:
    done = call(executable, path, saying_less(b""), b"x" * (17 << 20))
    assert (done.code, error(done.stdout)) == (1, 7)


def test_a_stripped_file_says_so(executable: Path, tmp_path: Path) -> None:
    content = executable.read_bytes()
    stripped = tmp_path / "toy"
    stripped.write_bytes(content[: content.rindex(b"PK\3\4")])
    stripped.chmod(0o755)
    done = subprocess.run([stripped], env={}, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=20)
    assert (done.returncode, error(done.stdout)) == (1, 100)
    assert b"archive missing" in done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed_are_pythons_affair(executable: Path, path: Path, closed: str) -> None:
    """What we open must never take the place of one of them."""
    wrapped = path.with_name("closed")
    wrapped.write_text(f'#!/bin/sh\nexec "{executable}" {closed}\n')
    wrapped.chmod(0o755)
    done = call(wrapped, path, None)
    assert done.code in (1, 7)
    assert done.stdout in (b"", b"cold\n", b"cold\n{}")


@pytest.fixture
def full(path: Path) -> Iterator[tuple[socket.socket, ExitStack]]:
    """A listener whose queue is full, and those in it, who go when that is closed."""
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        listener.settimeout(SECONDS)
        with suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(path))
        yield listener, stack


Full = tuple[socket.socket, ExitStack]


def test_python_does_it_where_nobody_takes_from_a_full_queue(executable: Path, path: Path, full: Full) -> None:
    with executed(executable, path) as process:
        assert process.communicate(b"config", SECONDS)[0] == b"cold\nconfig"


def test_a_full_queue_is_waited_for_while_a_server_lives(executable: Path, path: Path, full: Full) -> None:
    listener, waiting = full
    heard: Heard = []
    with path.with_name("alive").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with executed(executable, path) as process:
            time.sleep(0.2)
            waiting.close()
            process.stdin.close()  # type: ignore[union-attr]
            process.stdin = None
            while (b"K", b"") not in heard:
                stream, _ = listener.accept()
                with stream, suppress(ConnectionError):
                    stream.settimeout(SECONDS)
                    saying(answer(b"after all"))(Conversation(stream), heard)
            assert process.communicate(timeout=SECONDS)[0] == b"after all"


def executed(executable: Path, path: Path, **how: Any) -> subprocess.Popen[bytes]:
    environment = {**CALL, "CNI_PROVISION_SOCKET": str(path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **how}
    return subprocess.Popen([executable], env=environment, **pipes)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_stdout_that_does_not_block_gets_all(executable: Path, path: Path, size: int) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    found: list[bytes] = []

    def read() -> None:
        time.sleep(0.1)
        with open(reader, "rb") as file:
            found.append(file.read())

    slow = threading.Thread(target=read)
    slow.start()
    try:
        done = call(executable, path, saying(answer(b"x" * size)), stdout=writer)
    finally:
        os.close(writer)
        slow.join(SECONDS)
    assert (done.code, len(found[0])) == (0, size)
    assert done.heard[-1] == (b"K", b"")


def test_descriptors_that_a_caller_leaves_open_do_not_matter(executable: Path, path: Path) -> None:
    """A delegate has them too, as where the plugin executes it, and none of ours."""
    inherited = [os.dup(0) for _ in range(20)]
    try:
        listed = delegate(path.parent, "exec ls /proc/self/fd")
        done = call(executable, path, asking(listed), inherited=tuple(inherited))
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    assert done.stdout == b"{}"
    seen = {int(each) for each in outcome(done.heard[1][1])[1].split()}
    own = {0, 1, 2, min(set(range(3, 100)) - set(inherited))}  # the last one is the folder that `ls` reads
    assert seen == own | set(inherited)
