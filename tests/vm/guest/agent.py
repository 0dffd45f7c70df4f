"""Runs commands for the machine outside: a JSON line asks `[argv, seconds]`, one answers `[exit code, output]`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tty


def answer(argv: list[str], seconds: float) -> tuple[int, str]:
    """Exit code 124 when it took too long."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        return 124, (error.stdout or b"").decode(errors="replace")
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode(errors="replace")


def main(port: str) -> None:
    descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(descriptor)
    with open(descriptor, "r+b", buffering=0) as wire:
        wire.write(b"ready\n")
        for line in iter(wire.readline, b""):
            wire.write(json.dumps(answer(*json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
