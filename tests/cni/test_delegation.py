"""A delegate of ours is a call where CNI_PATH has the very file; any other file is executed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cni_provision.cni import delegation
from cni_provision.cni.call import Plugin

ENVIRONMENT = {"CNI_COMMAND": "VERSION"}
SCRIPT = '#!/bin/sh\nprintf \'{"cniVersion": "1.0.0", "supportedVersions": ["executed"]}\'\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "carried-toy"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("content", "ours"), [(SCRIPT, True), (SCRIPT + "#\n", False)])
def test_the_file_decides(folder: Path, content: str, ours: bool) -> None:
    module = ModuleType("plugins.carried_toy")
    plugin = Plugin("carried-toy", lambda _: None, lambda _: None)  # type: ignore
    module.PLUGIN = plugin
    sys.modules["plugins.carried_toy"] = module
    try:
        (folder / "carried-toy").write_text(content)
        execute = delegation.carried({"carried-toy": hashlib.sha256(SCRIPT.encode()).hexdigest()})
        outcome = execute("carried-toy", {**ENVIRONMENT, "CNI_PATH": str(folder)}, b'{"cniVersion": "1.0.0"}')
    finally:
        del sys.modules["plugins.carried_toy"]
    assert (outcome is plugin) if ours else (b"executed" in outcome.stdout)


def test_what_is_not_carried_is_executed(folder: Path) -> None:
    outcome = delegation.carried({})("carried-toy", {**ENVIRONMENT, "CNI_PATH": str(folder)}, b"{}")
    assert b"executed" in outcome.stdout
