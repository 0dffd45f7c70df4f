"""What the role says when something is wrong: each case is a file with what is written, what breaks, what is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_provision import lab
from tests.roles.playbooks import NETWORKS, NEWEST, QUIET, Site, shell

pytestmark = pytest.mark.lab
CASES = sorted((Path(__file__).parent.parent / "cases/role").glob("*.yaml"))


@pytest.fixture(scope="module")
def there() -> Iterator[lab.Lab]:
    """One node for each case."""
    name = f"role-{os.getpid()}"
    yield lab.up(len(CASES), name)
    lab.down(name)


def prepared(site: Site, there: lab.Lab, story: dict[str, Any], node: str) -> None:
    site.inventory(there, node)
    site.write({"group_vars/lab.yaml": {"cni_networks": NETWORKS, **QUIET}, **story.get("files", {})})
    if "break" in story:
        shell(there, node, f"set -e; {story['break']}")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_is_said(case: Path, there: lab.Lab, site: Site, tmp_path: Path) -> None:
    story = yaml.safe_load(case.read_text())
    node = f"node-{CASES.index(case) + 1}"
    prepared(site, there, story, node)
    variables = {"PYTHONPATH": str(tmp_path)} if story.get("without_package") else {}
    ran = site.run("play.yaml", *story.get("options", ()), version=story.get("version", NEWEST), **variables)
    assert ran.code == story["exit"]
    for sentence in story["said"]:
        assert sentence.format(node=node) in ran.text
    for sentence in story.get("never", ()):
        assert sentence not in ran.text
    assert "Traceback" not in ran.text
    assert shell(there, node, "ls /etc/cni/net.d 2>/dev/null || true").split() == story.get("conflists", [])
