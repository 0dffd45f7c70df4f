"""The launcher as other machines have it: 64 bits and the other byte order, under QEMU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cni_provision.artifact import default_cache
from cni_provision.artifact_launcher import can_build, launcher
from tests.launcher.conftest import with_zip
from tests.launcher.peer import answer, call
from tests.launcher.test_launcher import asking, delegate, outcome, saying, saying_less

MACHINES = {"arm64": "qemu-aarch64", "s390x": "qemu-s390x"}
pytestmark = pytest.mark.skipif(not can_build(), reason="ziglang not installed")


@pytest.fixture(scope="module", params=MACHINES)
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin named `toy` for another machine, in an emulator."""
    emulator = shutil.which(MACHINES[request.param])
    if not emulator:
        pytest.skip(f"no {MACHINES[request.param]} (package qemu-user)")
    folder = tmp_path_factory.mktemp(request.param)
    binary = folder / "binary"
    binary.write_bytes(with_zip(launcher(request.param, default_cache())))
    binary.chmod(0o755)
    toy = folder / "toy"
    toy.write_text(f'#!/bin/sh\nexec {emulator} -0 "$0" {binary} "$@"\n')
    toy.chmod(0o755)
    return toy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.mark.parametrize("size", [2, 70_000])
def test_an_answer(foreign: Path, path: Path, size: int) -> None:
    done = call(foreign, path, saying(answer(b"x" * size, b"a warning", code=3)), b"y" * size)
    assert (done.code, done.stdout, done.stderr) == (3, b"x" * size, b"a warning")
    (kind, request), acknowledged = done.heard
    assert kind == b"R"
    assert request.startswith(b"toy\0")
    assert request.endswith(b"\0\0" + b"y" * size)
    assert acknowledged == (b"K", b"")


def test_delegates(foreign: Path, path: Path) -> None:
    done = call(foreign, path, asking(delegate(path.parent, "cat; echo $CNI_COMMAND >&2; exit 9"), b"/absent\0ADD\0"))
    assert [outcome(payload) for kind, payload in done.heard if kind == b"X"] == [
        (9, b"stdin of it", b"DEL\n"),
        (256 + 2, b"", b""),
    ]
    assert done.stdout == b"{}"


def test_python_and_errors(foreign: Path, path: Path) -> None:
    assert call(foreign, path, None, b"config").stdout == b"cold\nconfig"
    assert b'"code": 11' in call(foreign, path.with_name("cut"), saying_less(answer(b"{}")[:7])).stdout
