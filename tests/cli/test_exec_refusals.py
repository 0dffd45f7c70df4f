"""`exec` in hands that do everything wrong: a clear sentence, the right exit code, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

CASES = json.loads((Path(__file__).resolve().parents[1] / "cases/cli/exec.json").read_text())
PLUGINS = {"hang": "sleep 60", "half": "echo 'half {'; exit 3", "loopback": "cat > /dev/null"}


@pytest.fixture
def here(folder: Path) -> dict[str, str]:
    """A folder with networks whose plugins misbehave, and cnitool's environment for it."""
    for name in ("net", "bin"):
        (folder / name).mkdir()
    for name in ("hang", "half", "noexec", "absent"):
        conflist(folder / f"net/50-{name}.conflist", name, name)
    conflist(folder / "net/99-lo.conflist", "lo", "loopback")
    conflist(folder / "named.conflist", "a name", "loopback")
    (folder / "broken.conflist").write_text("{")
    (folder / "wrong.yaml").write_text("all:\n  hosts: {node-1: }\n  vars:\n    cni_networks: [{nam: lo}]\n")
    for name, body in PLUGINS.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "bin/noexec").write_text("#!/bin/sh\n")
    return {"NETCONFPATH": str(folder / "net"), "CNI_PATH": str(folder / "bin")}


def conflist(file: Path, name: str, plugin: str) -> None:
    file.write_text(json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": plugin}]}))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_is_refused(case: dict[str, Any], program: Run, here: dict[str, str], folder: Path) -> None:
    words = [*case["words"], *([] if "--cache-dir" in case["words"] else cache_of(case["words"], folder))]
    done = program("exec", *words, **{**here, **case.get("environment", {})})
    assert done.returncode == case["code"], done.stdout + done.stderr
    assert case.get("stdout", "") in done.stdout
    assert case.get("stderr", "") in done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    if "error" in case:
        assert json.loads(done.stdout)["code"] == case["error"]
        assert done.stderr == ""
    else:
        assert done.stdout == ""


def cache_of(words: list[str], folder: Path) -> list[str]:
    return ["--cache-dir", str(folder / "cache")] if words[0] in ("add", "check", "del", "list") else []
