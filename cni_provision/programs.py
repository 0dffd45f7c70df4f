"""Runs the programs that an inventory names, and Ansible. What they answer stays in memory; none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import IO

from cni_provision.inventory.outside import ANSWER_VARIABLE, Ran, TookTooLong

PATIENCE = 600.0  # seconds; programs of large clouds take minutes
PATIENCE_VARIABLE = "CNI_PROVISION_PROGRAM_TIMEOUT"
GRACE = 5.0


def run(argv: Sequence[str], variables: Mapping[str, str], *, answers: bool = False) -> Ran:
    """Run a program; its environment is ours with `variables` added (`inventory.outside.Run`).

    It has a process group of its own, which ends with us. Only Ansible at a terminal stays in ours: it may ask for a
    password there.
    """
    with memory() as output, memory() as complaint, memory() as answer:
        environment = {**os.environ, **variables, **({ANSWER_VARIABLE: str(answer.fileno())} if answers else {})}
        program = subprocess.Popen(
            list(argv),
            env=environment,
            stdin=None if answers else subprocess.DEVNULL,
            stdout=output,
            stderr=output if answers else complaint,
            pass_fds=[answer.fileno()] if answers else [],
            start_new_session=not (answers and sys.stdin.isatty()),
        )
        wait(program)
        return Ran(program.returncode, *(content(file) for file in (output, complaint, answer)))


def memory() -> IO[bytes]:
    """A file without a name."""
    return os.fdopen(os.memfd_create("answer"), "r+b")


def content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def wait(program: subprocess.Popen[bytes]) -> None:
    """Wait for its end, but not for ever. Raises TookTooLong; whatever is raised, the program has ended."""
    patience = seconds(os.environ)
    try:
        program.wait(patience)
    except BaseException as error:
        end(program)
        if isinstance(error, subprocess.TimeoutExpired):
            raise TookTooLong(patience, PATIENCE_VARIABLE) from None
        raise


def seconds(environment: Mapping[str, str]) -> float:
    """How long a program may take; what is no number of seconds counts as nothing."""
    with suppress(ValueError):
        return max(0.1, float(environment.get(PATIENCE_VARIABLE, "")))
    return PATIENCE


def end(program: subprocess.Popen[bytes]) -> None:
    """End a program, and everything that it started where that is a group of its own."""
    grouped = os.getpgid(program.pid) == program.pid
    send = partial(os.killpg, program.pid) if grouped else program.send_signal
    with suppress(ProcessLookupError):
        send(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        program.wait(GRACE)
    with suppress(ProcessLookupError):
        send(signal.SIGKILL)
    program.wait()
