"""`cni_provision.cli.run.selection`: which nodes of an inventory a run is about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cni_provision.cli.run.selection import shard
from cni_provision.inventory.model import Connection, Declarations, Node


def named(name: str) -> Node:
    return Node(name, (), Connection(), Declarations())


@given(st.lists(st.text(max_size=8), unique=True, max_size=50), st.integers(1, 9))
def test_every_node_is_in_exactly_one_part(names: list[str], count: int) -> None:
    nodes = [named(name) for name in names]
    parts = [shard(nodes, f"{index}/{count}") for index in range(1, count + 1)]
    assert sorted(node.name for part in parts for node in part) == sorted(names)


def test_a_node_stays_in_its_part_when_others_come() -> None:
    before, after = ([named(f"web-{index}") for index in range(count)] for count in (10, 100))
    assert shard(before, "2/3") == tuple(node for node in shard(after, "2/3") if node in before)


def test_parts_are_of_about_one_size() -> None:
    nodes = [named(f"web-{index:04}.example.org") for index in range(3000)]
    assert all(850 < len(shard(nodes, f"{index}/3")) < 1150 for index in (1, 2, 3))
