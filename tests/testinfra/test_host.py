"""`host.cni` in the words of a test."""

from __future__ import annotations

import pytest

from cni_provision.errors import Unreachable
from cni_provision.fleet_job import Outcome
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import CheckOutcome, Reply
from cni_provision.testinfra.host import CNI, Attachment, Lease

NODE = Node("node-1", (), Connection(), Declarations())
OUTCOMES = (
    CheckOutcome("versions", "pass", None, "pods"),
    CheckOutcome("containers", "pass", "0.3 ms", "pods"),
    CheckOutcome("containers", "pass", "0.4 ms", "other"),
)
WHO = {"network": "pods", "container_id": "c", "ifname": "eth0"}
FACTS = {
    "networks": [{"name": "pods", "file": "10-pods.conflist", "cni_version": "1.0.0", "plugins": ["bridge"]}],
    "plugins": [{"name": "bridge", "size": 1, "digest": "0", "versions": ["1.0.0"], "owner": None}],
    "leases": [{**WHO, "address": "10.1.0.2"}],
    "attachments": [{**WHO, "netns": "/x", "alive": True, "addresses": ["10.1.0.2"]}],
}


def test_what_a_node_told() -> None:
    cni = CNI(Outcome(NODE, Reply(generation=4, outcomes=OUTCOMES, facts=FACTS)))
    assert cni.generation == 4
    assert cni.network("pods").plugins == ("bridge",)
    assert not cni.network("elsewhere").exists
    assert cni.plugin("bridge").versions == ("1.0.0",)
    assert cni.plugin("bridge").owner is None
    assert not cni.plugin("vlan").exists
    assert cni.leases == (Lease("pods", "10.1.0.2", "c", "eth0"),)
    assert cni.attachments == (Attachment("pods", "c", "eth0", "/x", alive=True, addresses=("10.1.0.2",)),)
    assert [outcome.message for outcome in cni.probe("pods")] == ["0.3 ms"]


def test_a_node_that_was_not_reached() -> None:
    cni = CNI(Outcome(NODE, error=Unreachable("no route")))
    with pytest.raises(Unreachable, match="no route"):
        cni.checks  # noqa: B018 (asking is what raises)
