"""From a task to a question."""

from __future__ import annotations

import pytest

from cni_provision.inventory.model import Connection, Declarations, Inventory, Node, Runtime
from cni_provision.role import Task, job, parts

INVENTORY = Inventory(
    (Node("node-1", (), Connection(), Declarations(runtime=Runtime(server=False))),), "hosts.yaml", "0"
)


@pytest.mark.parametrize(
    ("run", "skip", "left"),
    [
        (["all"], [], ()),
        (["site"], [], ()),
        (["plugins"], [], ("plugins",)),
        (["conflists", "plugins"], [], ("plugins", "conflists")),
        (["all"], ["verify"], ("plugins", "conflists", "kernel")),
        (["plugins", "verify"], ["verify"], ("plugins",)),
    ],
)
def test_tags_name_parts(run: list[str], skip: list[str], left: tuple[str, ...]) -> None:
    assert parts(run, skip) == left


def test_check_mode_plans_what_would_change() -> None:
    asked = job(INVENTORY, Task("rollback", generation=3, check_mode=True))
    assert (asked.request.verb, asked.request.work, asked.request.generation) == ("plan", {"of": "rollback"}, 3)
    assert not asked.changes_the_node


def test_check_mode_verifies_without_containers() -> None:
    assert job(INVENTORY, Task("verify", check_mode=True)).request.verify["probe"] == ()


def test_how_it_is_done() -> None:
    asked = job(
        INVENTORY, Task("apply", only=("plugins",), adopt=("x",), force=True, lock_timeout=5.0, rollback=False)
    )
    request = asked.request
    assert (request.only, request.adopt, request.force, request.lock_timeout) == (("plugins",), ("x",), True, 5.0)
    assert not request.rollback_on_failure
    assert request.verify is None  # a part alone
    assert asked.blobs is not None


def test_facts_ask_for_everything_there() -> None:
    request = job(INVENTORY, Task("facts", check_mode=True)).request
    assert (request.verb, request.work) == ("plugins", {"contents": True})
