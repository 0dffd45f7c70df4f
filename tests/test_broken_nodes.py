"""Nodes that are not as they should be, each a folder of `tests/cases/broken_nodes`: what `apply` says of them.

A case breaks a lab node by a shell command (`break`), or names a host that is dead, a black hole or a stranger.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_provision import lab
from tests.cli.conftest import PROGRAM
from tests.lab_fixture import on

pytestmark = [pytest.mark.lab, pytest.mark.root]

CASES = sorted((Path(__file__).parent / "cases" / "broken_nodes").glob("*.yaml"))
DECLARED: dict[str, Any] = {
    "cni_networks": [{"name": "pods", "template": "bridge", "order": 10, "parameters": {"subnet": "10.42.0.0/24"}}],
    "cni_verify": {"probe": False},
}


@pytest.fixture(scope="module")
def there() -> Iterator[lab.Lab]:
    """One node for each case."""
    name = f"broken-{os.getpid()}"
    yield lab.up(len(CASES), name)
    lab.down(name)


def inventory(there: lab.Lab, case: dict[str, Any], node: str, folder: Path) -> Path:
    """The case's node alone, as it is reached in that case."""
    text = lab.inventory(there, user=case.get("user", "root"), dead="dead" in case, black_hole="black_hole" in case)
    group = yaml.safe_load(text)["lab"]
    name = "dead" if "dead" in case else "black-hole" if "black_hole" in case else node
    if "stranger" in case:
        know_another_key(there, group["hosts"][node]["ansible_host"], folder)
        group["vars"]["ansible_ssh_common_args"] += f" -o UserKnownHostsFile={folder / 'known_hosts'}"
    group["hosts"] = {name: group["hosts"][name]}
    group["vars"] |= DECLARED
    file = folder / "hosts.yaml"
    file.write_text(yaml.safe_dump({"lab": group}))
    return file


def know_another_key(there: lab.Lab, address: str, folder: Path) -> None:
    """Known hosts in which the node has the key of the lab's user: a real one, and not its own."""
    key = " ".join((there.folder / "key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"{address} {key}\n")


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Everything that was on the screen, with single spaces."""
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_is_said(case: Path, there: lab.Lab, tmp_path: Path) -> None:
    story = yaml.safe_load(case.read_text())
    node = f"node-{CASES.index(case) + 1}"
    if "break" in story:
        on(there, node, "sh", "-ec", story["break"])
    file = inventory(there, story, node, tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CNI_")}
    done = subprocess.run(
        [PROGRAM, "apply", "--yes", "-i", str(file), *story.get("options", ())],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == story["exit"]
    for sentence in story["said"]:
        assert sentence in told(done)
    assert "Traceback" not in told(done)
