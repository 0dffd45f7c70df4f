"""What a round cost, and when that is worth a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.cli.run.costs import FEWEST, Costs, hint, is_dear, preferred
from cni_provision.fleet import Job
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import Request


def jobs(count: int, config: Path, kind: str = "ssh") -> list[Job]:
    connection = Connection(kind, "host", ssh_args=("-F", str(config)))
    return [Job(Node(f"n{index}", (), connection, Declarations()), Request("plan")) for index in range(count)]


@pytest.mark.parametrize(
    ("nodes", "own", "children", "dear"),
    [(40, 1.0, 3.0, True), (FEWEST - 1, 1.0, 3.0, False), (40, 4.0, 3.0, False), (400, 1.0, 6.0, False)],
)
def test_what_is_dear(nodes: int, own: float, children: float, dear: bool) -> None:
    assert is_dear(nodes, Costs(own, children)) is dear


def test_the_hint_names_the_line_that_changes_it(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256\n")
    told = hint(jobs(40, config), Costs(1.0, 3.2))
    assert told
    assert "`ssh` took 80 ms of CPU a node" in told
    assert "`KexAlgorithms curve25519-sha256`" in told
    assert hint(jobs(40, config, "memory"), Costs(1.0, 3.2)) is None
    config.write_text("KexAlgorithms curve25519-sha256\n")
    assert hint(jobs(40, config), Costs(1.0, 3.2)) is None


def test_what_ssh_prefers(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("KexAlgorithms ecdh-sha2-nistp256,curve25519-sha256\n")
    assert preferred(("-F", str(config), "--", "host")) == "ecdh-sha2-nistp256"
    assert preferred(("-F", str(tmp_path / "none"), "--", "host")) == ""


def test_time_is_counted() -> None:
    before = Costs.now()
    sum(range(10**6))
    assert Costs.now().since(before).own > 0
