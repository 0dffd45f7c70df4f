"""A test that takes `case` runs once for each case under its name in tests/cases/cni/<module>.json.

The rest makes namespaces of its own, and plugins as shell scripts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).resolve().parent.parent / "cases" / "cni"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2].removeprefix("test_")
        cases = json.loads((CASES / f"{module}.json").read_text())[metafunc.function.__name__]
        metafunc.parametrize("case", cases, ids=[case["name"] for case in cases])


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, str], Path]:
    """script("bridge", "exit 1") makes bin/bridge."""

    def make(name: str, body: str) -> Path:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def left_running(tmp_path: Path) -> Callable[[], list[int]]:
    """The processes that scripts noted by `echo $$ > {tmp_path}/x.pid` and that live two seconds later; ends them."""

    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def look() -> list[int]:
        pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
        assert pids, "no script noted its process"
        deadline = time.monotonic() + 2
        while any(map(alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        found = [pid for pid in pids if alive(pid)]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return found

    return look


@pytest.fixture
def netns(tmp_path: Path) -> Iterator[str]:
    """The path of an empty network namespace."""
    path = tmp_path / "container"
    path.touch()
    subprocess.run(["unshare", "--net", "mount", "--bind", "/proc/self/ns/net", path], check=True)
    yield str(path)
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def host_netns(tmp_path: Path) -> Iterator[list[str]]:
    """The beginning of a command line that runs in another network namespace, the host of a test."""
    path = tmp_path / "host"
    path.touch()
    subprocess.run(["unshare", "--net", "mount", "--bind", "/proc/self/ns/net", path], check=True)
    yield ["nsenter", f"--net={path}"]
    subprocess.run(["umount", path], check=True)


def wire(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@pytest.fixture
def as_bytes() -> Callable[[Any], bytes]:
    return wire


@pytest.fixture
def no_new_descriptors() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before)
