"""Which network runtimes choose in a folder; every look is compared too, in order of the files' names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import loaders
from cni_provision.cni.types import INVALID_CONFIG, CNIError

AsBytes = Callable[[Any], bytes]


def speaker(known: dict[str, list[str]] | None) -> loaders.Speaks | None:
    def speaks(plugin: str) -> list[str]:
        if known is None or plugin not in known:
            raise CNIError(INVALID_CONFIG, f"failed to find plugin `{plugin}` in path [/opt/cni/bin]")
        return known[plugin]

    return None if known is None else speaks


def test_choices(case: dict[str, Any], as_bytes: AsBytes, tmp_path: Path) -> None:
    for name, content in case["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(as_bytes(content))
    folder = loaders.Folder(str(tmp_path), speaker(case.get("speaks")))
    found = {choice.runtime: choice for choice in loaders.choices(folder, case.get("network", ""))}
    assert {name: [one.network, one.file] for name, one in found.items()} == case["chosen"]
    assert {name: verdicts(one) for name, one in found.items()} == case["verdicts"]
    for runtime, words in case.get("why", {}).items():
        assert any(words in look.why for look in found[runtime].looks)
    assert all(choice.why for choice in found.values())


def verdicts(choice: loaders.Choice) -> str:
    return " ".join(look.verdict for look in sorted(choice.looks, key=lambda look: look.file))


def test_a_folder_that_is_absent_is_empty(tmp_path: Path) -> None:
    assert not any(one.file for one in loaders.choices(loaders.Folder(str(tmp_path / "absent"))))


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CNIError, match="cannot read"):
        loaders.choices(loaders.Folder(str(tmp_path / "file")))


def test_a_link_to_a_folder_is_a_malformed_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "05-link.conflist").symlink_to(tmp_path / "there")
    (containerd, *_) = loaders.choices(loaders.Folder(str(tmp_path)))
    assert [(look.verdict, look.why) for look in containerd.looks] == [("fatal", "cannot read it: Is a directory")]
