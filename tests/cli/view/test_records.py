from __future__ import annotations

from cni_provision.cli.view import records
from cni_provision.events import NodeStatus

COUNTED = {
    "build": "863d27c265f6",
    "requests": {
        "ADD": {"count": 240, "failed": 2, "p50_ms": 3.1, "p99_ms": 12.5},
        "VERSION": {"count": 20, "failed": 0, "p50_ms": 0.041, "p99_ms": 0.2},
    },
    "cold": {"other net namespace": 3},
}


def test_nodes_with_and_without_a_server() -> None:
    events = [NodeStatus("node-1", 3, server="863d27c265f6"), NodeStatus("node-2", 3)]
    assert [line.split() for line in records.statuses(events)] == [
        ["node", "generation", "server"],
        ["node-1", "3", "863d27c265f6"],
        ["node-2", "3"],
    ]


def test_what_a_server_counted() -> None:
    event = NodeStatus("node-1", 3, server="863d27c265f6", facts={"server": COUNTED})
    assert [" ".join(line.split()) for line in records.servers([event])] == [
        "node server calls failed p50 p99",
        "node-1 ADD 240 2 3.1 ms 12.5 ms",
        "node-1 VERSION 20 0.041 ms 0.2 ms",
        "node-1 not served: other net namespace 3",
    ]


def test_a_server_that_has_just_begun() -> None:
    assert records.servers([NodeStatus("node-1", 3, server="starting", facts={"server": {"runs": True}})]) == []
