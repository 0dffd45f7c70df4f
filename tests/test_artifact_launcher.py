"""Launchers: small, static, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.artifact_launcher import TARGETS, can_build, compiled, launcher, own_architecture
from cni_provision.errors import UserError

LARGEST = 80_000  # mips64le: its pages may have 64 KiB
pytestmark = pytest.mark.skipif(not can_build(), reason="ziglang not installed")


USUAL = {own_architecture(), "s390x"}  # s390x is big-endian


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=() if name in USUAL else pytest.mark.minutes) for name in TARGETS],
)
def test_two_builds_are_alike(architecture: str) -> None:
    content = compiled(architecture)
    assert content == compiled(architecture)
    assert content.startswith(b"\x7fELF")
    assert len(content) < LARGEST


def test_an_unknown_architecture_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no launcher for `vax`"):
        launcher("vax", tmp_path)
