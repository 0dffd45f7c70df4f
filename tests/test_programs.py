"""Programs of inventories: what they say, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cni_provision.inventory.outside import TookTooLong
from cni_provision.programs import PATIENCE, PATIENCE_VARIABLE, run, seconds

ENDLESS = "sleep 1000 & echo $! > child; sleep 1000"
CALLER = """
import sys
from cni_provision.cli.main import main
sys.argv = ["cni-provision", "validate", "-i", "hosts.sh"]
main()
"""


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    for _ in range(600):
        if not is_alive(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"{pid} is left behind")


def test_streams_and_ending_are_kept_apart() -> None:
    ran = run(shell('echo "$WORD"; echo oh >&2; exit 3'), {"WORD": "hello"})
    assert (ran.code, ran.output, ran.complaint, ran.answer) == (3, b"hello\n", b"oh\n", b"")


def test_an_answer_goes_to_a_descriptor() -> None:
    ran = run(shell("echo said; echo answered > /dev/fd/$CNI_PROVISION_ANSWER"), {}, answers=True)
    assert (ran.code, ran.output, ran.answer) == (0, b"said\n", b"answered\n")


def test_a_large_answer_and_a_program_that_nobody_reads_on() -> None:
    count = 3_000_000
    assert len(run([sys.executable, "-c", f"print('x' * {count})"], {}).output) == count + 1


def test_what_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TookTooLong, match="no end after 1 s"):
        run(shell(ENDLESS), {})
    wait_until_gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(("text", "patience"), [("", PATIENCE), ("x", PATIENCE), ("2.5", 2.5), ("0", 0.1)])
def test_patience(text: str, patience: float) -> None:
    assert seconds({PATIENCE_VARIABLE: text}) == patience
    assert seconds({}) == PATIENCE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_inventorys_program_too(number: int, code: int, tmp_path: Path) -> None:
    script = tmp_path / "hosts.sh"
    script.write_text(f"#!/bin/sh\n{ENDLESS}\n")
    script.chmod(0o755)
    root = str(Path(__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", CALLER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        child = tmp_path / "child"
        while not (child.exists() and child.read_text().strip()):
            time.sleep(0.05)
        program.send_signal(number)
        _, said = program.communicate(timeout=60)
    assert program.returncode == code
    assert "Traceback" not in said
    wait_until_gone(int(child.read_text()))
