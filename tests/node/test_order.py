"""The order in which a run makes things durable and visible, read off its system calls; and what its record says."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from cni_provision.node.protocol import Request
from tests.node.conftest import Node, digest
from tests.node.kills import COMMITTED, NEW, TO_NEW, Call, calls_of, hurt, images

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace not installed"),
]

QUOTED = re.compile(r'"([^"]*)"')
OPENED = re.compile(r"\d+<([^>]*)>")
STAGED = "/.cnip-"
OUTSIDE = ("/etc/", "/opt/")


def renamed(call: Call) -> str:
    """The new name."""
    return QUOTED.findall(call.text)[1]


def synced(calls: list[Call]) -> set[str]:
    return {found[1] for call in calls if call.name == "fsync" and (found := OPENED.search(call.text))}


@pytest.fixture
def calls(node: Node) -> list[Call]:
    images(node)
    return calls_of(node, TO_NEW)


def commit_of(calls: list[Call]) -> int:
    (position,) = (
        place for place, call in enumerate(calls) if call.name == "rename" and call.text.count("/2.stage\"")
        and renamed(call) == COMMITTED
    )  # fmt: skip
    return position


def test_everything_is_staged_and_durable_before_the_commit_point(calls: list[Call]) -> None:
    before = calls[: commit_of(calls)]
    visible = [call for call in calls if call.name == "rename" and renamed(call).startswith(OUTSIDE)]
    assert visible
    assert not [call for call in before if call in visible]
    for call in visible:
        staged = QUOTED.findall(call.text)[0]
        assert STAGED in staged
        assert {staged, staged.rpartition("/")[0]} <= synced(before), staged
    assert "/var/lib/cni-provision/txn" in synced(before)
    assert "/var/lib/cni-provision/blobs" in synced(before)


def test_nothing_of_the_old_node_is_touched_before_the_commit_point(calls: list[Call]) -> None:
    before = calls[: commit_of(calls)]
    removed = [QUOTED.findall(call.text)[0] for call in before if call.name in ("unlink", "rmdir")]
    assert all(STAGED in path for path in removed)


def test_names_are_durable_before_the_next_group_begins(calls: list[Call]) -> None:
    """Plugins before the conflist that names them, the new conflist before the old one goes, and so on."""
    after = calls[commit_of(calls) + 1 :]
    steps = [
        "/opt/cni/bin/ptp",
        "/etc/cni/net.d/20-pods.conflist",
        "/etc/cni/net.d/10-pods.conflist",
        "/opt/cni/bin/vlan",
    ]
    places = [next(place for place, call in enumerate(after) if f'"{path}"' in call.text) for path in steps]
    assert places == sorted(places)
    for path, start, end in zip(steps, places, places[1:], strict=False):
        assert path.rpartition("/")[0] in synced(after[start:end]), path


def test_replaced_bytes_are_kept_before_the_commit_point(node: Node) -> None:
    images(node)
    hurt(node, TO_NEW, "rename:signal=KILL:when=7")
    assert not node.path(COMMITTED).exists()
    kept = node.shell("ls /var/lib/cni-provision/blobs").split()
    assert {digest(text) for text in (b"bridge 1", b"vlan 1", b"going")} <= set(kept)


def test_a_record_says_who_what_and_from_where(node: Node) -> None:
    images(node)
    asked = Request(**{**vars(TO_NEW), "inventory": "sha", "source": "hosts.yaml", "time": "2026-02-02"})
    node.ask(asked, NEW.contents)
    record = json.loads(node.path("/var/lib/cni-provision/generations/2.json").read_text())
    told = {name: record[name] for name in ("number", "parent", "owner", "by", "inventory", "source", "time", "due")}
    assert told == {
        "number": 2, "parent": 1, "owner": "cni-provision", "by": "tester@here", "inventory": "sha",
        "source": "hosts.yaml", "time": "2026-02-02", "due": [],
    }  # fmt: skip
    bridge = record["states"]["file:/opt/cni/bin/bridge"]
    assert (bridge["digest"], bridge["mode"], bridge["uid"]) == (digest(b"bridge 2"), 0o755, 0)
    assert "security.capability" in record["attributes"]["file:/opt/cni/bin/bridge"]
    assert record["found"]["sysctl:net.ipv4.ip_forward"]["value"] == "0"
