"""The conversation in whole executions: what is sent, what of the answer counts, what its absence means."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from cni_provision.errors import Busy, Denied, NodeError, NodeFailed
from cni_provision.fleet_job import Job
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import MARKER, Reply, Request, frame, to_json
from cni_provision.role import Ended, command, executions

CONTENT = b"#!/bin/sh\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Blobs:
    def compressed(self, digest: str) -> bytes:
        return {DIGEST: zlib.compress(CONTENT)}[digest]


def job() -> Job:
    return Job(Node("node-1", (), Connection(), Declarations()), Request("apply"), Blobs())


def answered(*replies: Reply, noise: bytes = b"", more: bytes = b"") -> Ended:
    return Ended(0, noise + MARKER + b"".join(frame(to_json(reply)) for reply in replies) + more, "")


def end(ended: Ended) -> Reply:
    """The reply of a node that lacks nothing."""
    flow = executions(job())
    next(flow)
    with pytest.raises(StopIteration) as stopped:
        flow.send(ended)
    reply: Reply = stopped.value.value
    return reply


def test_one_execution_where_nothing_is_lacking() -> None:
    assert end(answered(Reply(generation=7), noise=b"Welcome!\0CNI\n")).generation == 7


def test_the_second_execution_is_complete_by_itself() -> None:
    flow = executions(job())
    first = next(flow)
    assert first.startswith(MARKER)
    second = flow.send(answered(Reply(need=(DIGEST,))))
    assert second == first + frame(bytes.fromhex(DIGEST) + zlib.compress(CONTENT)) + frame(b"")
    with pytest.raises(StopIteration) as stopped:
        flow.send(answered(Reply(need=(DIGEST,)), Reply(applied=True)))
    assert stopped.value.value.applied


@pytest.mark.parametrize(
    ("ended", "kind", "said"),
    [
        (Ended(1, b"", "sudo: 1 incorrect password attempt"), Denied, "incorrect password"),
        (Ended(127, b"", "cni-provision: no Python 3.9 or newer (tried python3)"), NodeFailed, "no Python 3.9"),
        (Ended(-9, b"", ""), NodeFailed, "signal 9"),
        (Ended(0, MARKER, "cut"), NodeFailed, "cut"),
        (Ended(0, MARKER + frame(b"{}")[:-1], "cut"), NodeFailed, "cut"),
        (Ended(0, MARKER + frame(b"[]"), ""), NodeFailed, "cannot be read"),
        (answered(Reply(error={"reason": "busy", "message": "ann"})), Busy, "ann"),
    ],
)
def test_what_goes_wrong(ended: Ended, kind: type[NodeError], said: str) -> None:
    flow = executions(job())
    next(flow)
    with pytest.raises(kind, match=said):
        flow.send(ended)


@pytest.mark.parametrize("python", [None, "auto", "auto_silent"])
def test_python_is_looked_for_unless_it_is_named(python: str | None) -> None:
    assert command(python) == command(None)
    assert "/opt/python3" in command("/opt/python3")
