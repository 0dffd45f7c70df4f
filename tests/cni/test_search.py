"""Where a plugin's executable is found, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.cni import search
from cni_provision.cni.types import CNIError


def test_finds_the_first_regular_file(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "bridge").mkdir()
    (tmp_path / "b" / "bridge").touch()
    (tmp_path / "c" / "bridge").touch()
    path = [str(tmp_path / folder) for folder in ("absent", "a", "b", "c")]
    assert search.find("bridge", path) == str(tmp_path / "b" / "bridge")


@pytest.mark.parametrize(
    ("plugin_type", "path", "msg"),
    [
        ("bridge", ["/nowhere", "/never"], 'failed to find plugin "bridge" in path [/nowhere /never]'),
        ("bridge", [""], "no paths provided"),
        ("", ["/bin"], "no plugin name provided"),
        ("../bin/sh", ["/bin"], "invalid plugin name: ../bin/sh"),
    ],
)
def test_says_what_it_cannot_find(plugin_type: str, path: list[str], msg: str) -> None:
    with pytest.raises(CNIError) as caught:
        search.find(plugin_type, path)
    assert (caught.value.code, caught.value.msg) == (7, msg)
