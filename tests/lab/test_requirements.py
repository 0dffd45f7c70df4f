"""What is missing is named with its package."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.errors import LabFailed
from cni_provision.lab import requirements

pytestmark = pytest.mark.root


def test_nothing_is_missing_here() -> None:
    requirements.check()


def test_programs(tmp_path: Path) -> None:
    with pytest.raises(LabFailed, match="`ssh`, `ssh-keygen`, `ip`, `nsenter`") as caught:
        requirements.check(path=str(tmp_path))
    assert "openssh-client util-linux" in str(caught.value.hint)


def test_the_overlay_file_system(tmp_path: Path) -> None:
    (tmp_path / "filesystems").write_text("\text4\n")
    with pytest.raises(LabFailed, match="overlay") as caught:
        requirements.check(file_systems=tmp_path / "filesystems", modules=tmp_path)
    assert caught.value.hint == "`modprobe overlay`"
