"""What `-i`, `-e`, `--limit` and their like select and set: each row of cases/cli/inventory.json by `render`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cli.main import run
from tests.inventory import peers

CASES = Path(__file__).parent.parent / "cases" / "cli"
ROWS: list[dict[str, Any]] = json.loads((CASES / "inventory.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(CASES / "inventory", tmp_path / "fleet")
    monkeypatch.chdir(tmp_path / "fleet")
    for name in [name for name in os.environ if name.startswith(("CNI_", "ANSIBLE_"))]:
        monkeypatch.delenv(name)
    return tmp_path / "fleet"


def rendered(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str], str]:
    """The exit code, each node's conflist, and what was said of mistakes in text."""
    code = run(["render", "--json", *words])
    lines = capfd.readouterr().out.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    said = ""
    if code:
        assert run(["render", *words]) == code
        said = capfd.readouterr().err
    assert "Traceback" not in said
    found = (event for event in events if event["event"] == "rendered" and event["path"].endswith(".conflist"))
    return code, {event["node"]: event["text"] for event in found}, said


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_what_is_selected_and_set(
    row: dict[str, Any], folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in row.get("environment", {}).items():
        monkeypatch.setenv(name, value)
    code, files, said = rendered(row["words"], capfd)
    assert code == row.get("code", 0), said
    assert row.get("stderr", "") in said
    if "nodes" in row:
        assert sorted(files) == row["nodes"].split()
    if "mtu" in row:
        assert {str(json.loads(text)["plugins"][0]["mtu"]) for text in files.values()} == {row["mtu"]}


def test_ansible_reads_the_same_and_opens_vaults(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = peers.python("2.19").with_name("ansible")
    monkeypatch.setenv("CNI_PROVISION_ANSIBLE", str(program))
    words = ["-i", "production", "--playbook-dir", "playbooks", "-l", "web"]
    _, own, _ = rendered(words, capfd)
    code, files, said = rendered([*words, "--reader", "ansible"], capfd)
    assert (code, files) == (0, own), said
    vault = CASES.parent / "inventory" / "differential" / "vault"
    for option in ("--vault-id", "--vault-password-file"):
        words = ["-i", str(vault / "hosts.yaml"), "-e", "@networks.yaml", "--reader", "ansible"]
        code, files, said = rendered([*words, option, str(vault / "password")], capfd)
        assert code == 0, said
    assert run(["validate", *words, "--vault-id", "none"]) == 65
