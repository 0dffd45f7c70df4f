"""Plugins that misbehave: each is an executable, each gives a clear error in time, and nothing goes on afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import invoke, search
from cni_provision.cni.outcome import Outcome, result_of
from cni_provision.cni.types import CNIError, Result

Script = Callable[[str, str], Path]
LeftRunning = Callable[[], list[int]]
pytestmark = pytest.mark.usefixtures("no_new_descriptors")

TIMEOUT = 1.0
ANSWER = """echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}'"""


def add(program: Path, timeout: float | None = TIMEOUT, environment: dict[str, str] | None = None) -> Result:
    told = {"PATH": "/usr/bin:/bin", **(environment or {})}
    return result_of(invoke.execute(str(program), told, b"{}", timeout), "1.0.0")


def refused(program: Path, timeout: float | None = TIMEOUT, environment: dict[str, str] | None = None) -> CNIError:
    started = time.monotonic()
    with pytest.raises(CNIError) as caught:
        add(program, timeout, environment)
    assert time.monotonic() - started < (timeout or 0) + 3
    return caught.value


def test_error(case: dict[str, Any], script: Script) -> None:
    error = refused(script("p", case["body"]))
    assert (error.code, error.details) == (case["code"], case.get("details", ""))
    assert case["msg"] in error.msg


@pytest.mark.parametrize("stream", [1, 2])
def test_100_megabytes_of_output(script: Script, tmp_path: Path, left_running: LeftRunning, stream: int) -> None:
    program = script("p", f"echo $$ > {tmp_path}/p.pid; exec head -c 100000000 /dev/zero >&{stream}")
    assert "printed more than 16 MiB and was killed" in refused(program, 30).msg
    assert left_running() == []


HANGS = {
    "alone": "note leader; sleep 300",
    "with a child": "note leader; (note child; sleep 300) & wait",
    "deaf to signals": "trap '' TERM INT HUP; note leader; while :; do sleep 1; done",
    "stopped": "note leader; kill -STOP $$",
    "a group of its own": "note leader; set -m; (note child; sleep 300) & wait",
    "a session of its own": "note leader; setsid sh -c 'note child; sleep 300' & wait",
    "a daemon": "note leader; (setsid sh -c 'note daemon; sleep 300' &) ; sleep 300",
    "a daemon without an environment": "note leader; env -i setsid sh -c 'echo $$ > {folder}/d.pid; sleep 99' & wait",
    "many": "note leader; for i in 1 2 3 4; do setsid sh -c \"note child$i; (sleep 300 & sleep 300)\" & done; wait",
}  # fmt: skip


def noting(folder: Path, body: str) -> str:
    """`note NAME` writes down the process that runs it."""
    note = folder / "bin" / "note"
    note.parent.mkdir(exist_ok=True)
    note.write_text(f"#!/bin/sh\necho $PPID > {folder}/$1.pid\n")
    note.chmod(0o755)
    return f"PATH={folder}/bin:$PATH; export PATH; " + body.replace("{folder}", str(folder))


@pytest.mark.parametrize("kind", HANGS)
def test_hanging(script: Script, tmp_path: Path, left_running: LeftRunning, kind: str) -> None:
    program = script("p", noting(tmp_path, HANGS[kind]))
    error = refused(program)
    assert error.code == 999
    assert error.msg == f"plugin `{program}` did not finish within 1 s and was killed"
    assert left_running() == []


def test_what_a_hanging_plugin_said_is_told(script: Script) -> None:
    assert refused(script("p", "echo waiting for the lock >&2; exec sleep 300")).details == "waiting for the lock"


@pytest.mark.parametrize("stream", ["", "2>&1 >/dev/null", ">/dev/null"])
@pytest.mark.parametrize("timeout", [TIMEOUT, None])
def test_a_daemon_that_holds_the_output(
    script: Script, tmp_path: Path, left_running: LeftRunning, stream: str, timeout: float | None
) -> None:
    program = script(
        "p", noting(tmp_path, f"(setsid sh -c 'note daemon; sleep 300' {stream} &); sleep 0.2; {ANSWER}")
    )
    error = refused(program, timeout)
    assert (error.code, left_running()) == (999, [])
    assert error.msg == f"plugin `{program}` left a process behind that holds its output open; it was killed"


def test_a_daemon_with_streams_of_its_own_goes_on(script: Script, tmp_path: Path, left_running: LeftRunning) -> None:
    daemon = "setsid sh -c 'note daemon; exec sleep 300' </dev/null >/dev/null 2>&1"
    program = script("p", noting(tmp_path, f"({daemon} &); sleep 0.2; {ANSWER}"))
    assert add(program).ips
    assert len(left_running()) == 1


def test_a_call_inside_a_call_ends_only_its_own(script: Script, tmp_path: Path, left_running: LeftRunning) -> None:
    outer = {invoke.offspring.MARK: "/outer"}
    other = os.posix_spawn("/bin/sleep", ["sleep", "300"], {**outer, "PATH": "/bin"})
    try:
        refused(script("p", noting(tmp_path, HANGS["a daemon"])), TIMEOUT, outer)
        assert left_running() == []
        assert os.waitpid(other, os.WNOHANG) == (0, 0)
    finally:
        os.kill(other, 9)
        os.waitpid(other, 0)


def test_vanishing_between_find_and_exec(script: Script) -> None:
    program = search.find("p", [str(script("p", ANSWER).parent)])
    os.unlink(program)
    error = refused(Path(program))
    assert (error.code, error.msg) == (5, f"cannot execute plugin `{program}`: No such file or directory")


def test_reading_nothing_and_closing_everything(script: Script) -> None:
    program = script("p", "exec <&- >&- 2>&-; exit 0")
    assert invoke.execute(str(program), {}, b"x" * 1_000_000, TIMEOUT) == Outcome(0)


def test_a_failure_before_stdin_is_read_is_the_plugins(script: Script) -> None:
    program = script("p", """echo '{"code":100,"msg":"no"}'; exit 1""")
    outcome = invoke.execute(str(program), {}, b"x" * 1_000_000, TIMEOUT)
    assert (outcome.code, outcome.stdout) == (1, b'{"code":100,"msg":"no"}\n')
