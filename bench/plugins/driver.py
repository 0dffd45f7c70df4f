"""The C program that executes plugins and measures: built here, told what to do, its samples read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.plugins.hosts import Host

HERE = Path(__file__).resolve().parent
PAUSE = 1000  # microseconds after each phase
SECONDS = 3600.0


@dataclass(frozen=True)
class Step:
    """One execution. `@{pod}`, `@{run}` and `@{prev}` in the strings are filled by the driver (see driver.c)."""

    path: str
    stdin: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Lane:
    """What one engine does in each iteration, for each of its pods."""

    name: str
    phases: tuple[Phase, ...]
    pods: int = 1
    workers: int = 1


@dataclass(frozen=True)
class Samples:
    """One value for each iteration; `kilobytes` is the largest resident set of a process of that phase."""

    lane: str
    phase: str
    seconds: tuple[float, ...]
    kilobytes: tuple[int, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)


def compiled(folder: Path, name: str, *sources: str) -> Path:
    """A program from sources beside this file."""
    program = folder / name
    paths = [str(HERE / source) for source in sources]
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-pthread", "-o", str(program), *paths], check=True)
    return program


def measure(
    program: Path, host: Host, lanes: Sequence[Lane], iterations: int, *, warm_up: int = 0, memory: bool = False
) -> list[Samples]:
    """Samples of every phase of every lane, without those of the first `warm_up` iterations."""
    words = [word for lane in lanes for word in _lane(lane)]
    words += ["run", str(iterations + warm_up), "memory" if memory else str(PAUSE)]
    stdin = "".join(f"{word}\0" for word in words).encode()
    done = subprocess.run(
        host.inside(str(program)), input=stdin, stdout=subprocess.PIPE, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the driver ended with {done.returncode}")
    return [
        Samples(one["lane"], one["phase"], tuple(one["seconds"][warm_up:]), tuple(one["kilobytes"][warm_up:]))
        for one in json.loads(done.stdout)
    ]


def _lane(lane: Lane) -> Iterator[str]:
    yield from ("lane", lane.name, str(lane.pods), str(lane.workers))
    for phase in lane.phases:
        yield from ("phase", phase.name)
        for step in phase.steps:
            variables = [f"{name}={value}" for name, value in step.environment.items()]
            yield from ("step", step.path, step.stdin, str(len(variables)), *variables)
