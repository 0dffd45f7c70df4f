"""What Ansible evaluated, as the action plugin tells it, to nodes and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_provision.errors import Mistakes
from cni_provision.role import Host, inventory, play_inventory

FILE = "/srv/site/hosts.yaml"


def node(value: Any, line: int = 1) -> dict[str, Any]:
    """A value as a node of `inventory.answer`, all of it in one line."""
    if isinstance(value, dict):
        return {
            "d": [[key, node(child, line), [FILE, line, 1]] for key, child in value.items()],
            "p": [FILE, line, 1],
        }
    if isinstance(value, list):
        return {"l": [node(child, line) for child in value], "p": [FILE, line, 1]}
    return {"v": value, "p": [FILE, line, 1]}


def host(name: str, index: int, **variables: Any) -> Host:
    return Host(name, index, ("lab",), {f"cni_{key}": node(value, 3) for key, value in variables.items()})


def network(subnet: str, **more: Any) -> dict[str, Any]:
    return {"name": "pods", "template": "bridge", "parameters": {"subnet": subnet, "routed": True}, **more}


def test_suffixed_variables_are_merged() -> None:
    one = host("node-1", 0, networks=[network("10.1.0.0/24")], networks__more=[{"name": "pods", "order": 7}])
    (found,) = inventory([one], "hosts.yaml").nodes
    assert (found.name, found.groups) == ("node-1", ("lab",))
    assert found.declarations.networks[0].order == 7


def test_mistakes_have_places() -> None:
    with pytest.raises(Mistakes) as caught:
        inventory([host("node-1", 0, networks=[network("10.1.0.0/24", ordre=7)])], "hosts.yaml")
    (found,) = caught.value.diagnostics
    assert (str(found.place), found.message) == (f"{FILE}:3:1", "unknown key `ordre` in network `pods`")


def test_hosts_of_a_play_are_compared_with_all_others() -> None:
    mine, theirs = (
        host("node-1", 0, networks=[network("10.1.0.0/24")]),
        host("x", 1, networks=[network("10.1.0.0/16")]),
    )
    assert inventory([mine], "").nodes
    with pytest.raises(Mistakes, match="1 mistake"):
        play_inventory([mine], [theirs], "")
    # what is wrong with those that are not in the play is not asked for
    assert play_inventory([mine], [host("x", 1, networks="nonsense")], "").nodes


def test_files_of_a_play_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text("cni_owner: one\ncni_owner: two\n")
    one = Host("node-1", 0, (), {"cni_owner": {"v": "two", "p": [str(file), 2, 12]}})
    with pytest.raises(Mistakes) as caught:
        play_inventory([one], [], "")
    assert [found.message for found in caught.value.diagnostics] == ["`cni_owner` is there twice"]


def test_the_digest_is_of_what_is_declared() -> None:
    first, same, other = (inventory([host("node-1", 0, owner=owner)], "").digest for owner in ("one", "one", "two"))
    assert first == same != other
