"""Runs the programs that an inventory names, and Ansible. What they answer stays in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from cni_provision.inventory.outside import ANSWER_VARIABLE, Ran


def run(argv: Sequence[str], variables: Mapping[str, str], *, answers: bool = False) -> Ran:
    """Run a program; its environment is ours with `variables` added (`inventory.outside.Run`)."""
    environment = {**os.environ, **variables}
    if answers:
        return run_with_pipe(argv, environment)
    done = subprocess.run(list(argv), env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def run_with_pipe(argv: Sequence[str], environment: Mapping[str, str]) -> Ran:
    """The program writes its answer to a pipe; what it prints is kept apart, in memory too."""
    reading, writing = os.pipe()
    printed = os.memfd_create("printed")
    with os.fdopen(reading, "rb") as pipe, os.fdopen(printed, "rb") as output:
        try:
            program = subprocess.Popen(
                list(argv),
                env={**environment, ANSWER_VARIABLE: str(writing)},
                pass_fds=[writing],
                stdout=printed,
                stderr=printed,
            )
        finally:
            os.close(writing)
        with program:
            answer = pipe.read()
        output.seek(0)
        return Ran(program.returncode, output.read(), answer=answer)
