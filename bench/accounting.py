"""Wall time and CPU time of a command and of everything that it starts, daemons included."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION_1 = Path("/sys/fs/cgroup/cpuacct")
VERSION_2 = Path("/sys/fs/cgroup")
ENTER = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'


@dataclass(frozen=True)
class Cost:
    """Seconds."""

    wall: float
    cpu: float


class Group:
    """A control group of our own: what leaves its parent (an SSH master) is still counted."""

    def __init__(self, name: str) -> None:
        self.first = VERSION_1.is_dir()
        self.folder = (VERSION_1 if self.first else VERSION_2) / name
        self.folder.mkdir(exist_ok=True)

    def seconds(self) -> float:
        if self.first:
            return int((self.folder / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def run(self, argv: Sequence[str], folder: Path, variables: Mapping[str, str]) -> tuple[Cost, str]:
        """The cost of a command that must succeed, and what it printed."""
        before, began = self.seconds(), time.monotonic()
        # bytecode is written as on a user's machine
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            ["sh", "-c", ENTER, "enter", str(self.folder), *argv],
            cwd=folder,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        cost = Cost(time.monotonic() - began, self.seconds() - before)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return cost, done.stdout + done.stderr
