"""The program that types a password into a terminal of its own, run here instead of on a node."""

from __future__ import annotations

import subprocess

from cni_provision.transport.terminal import argv

ASK = "printf 'password: ' >/dev/tty; read -r word </dev/tty; echo \"got $word\"; "


def run(script: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        argv("/usr/bin/python3", ("sh", "-c", script)), input=stdin, capture_output=True, timeout=10, check=False
    )


def test_answers_the_question_and_leaves_the_rest_of_stdin_as_it_is() -> None:
    done = run(ASK + "cat", b"s3cret\n\0\4\3binary\r\n")
    assert (done.returncode, done.stdout) == (0, b"got s3cret\n\0\4\3binary\r\n")


def test_without_a_question_nothing_is_typed() -> None:
    done = run("cat; exit 7", b"s3cret\nrest")
    assert (done.returncode, done.stdout) == (7, b"rest")


def test_a_second_question_ends_it() -> None:
    done = run(ASK + ASK + "echo not reached", b"wrong\n")
    assert done.stdout.splitlines()[0] == b"got wrong"
    assert b"not reached" not in done.stdout


def test_no_password_line_runs_nothing() -> None:
    assert run("echo ran", b"").stdout == b""
