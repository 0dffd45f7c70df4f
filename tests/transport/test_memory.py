"""The public fake behaves as a node does."""

from __future__ import annotations

import asyncio

import pytest

from cni_provision.errors import Conflict, NodeFailed, Unreachable
from cni_provision.fleet import converse
from cni_provision.inventory.model import Connection
from cni_provision.node.protocol import Reply, Request
from cni_provision.plan import File
from cni_provision.transport.base import Secrets, Settings
from cni_provision.transport.memory import MemoryNode, Transport

FILE = File("/etc/cni/net.d/10-a.conflist", "ab" * 32)
APPLY = Request("apply", desired={"file:" + FILE.path: FILE})


class Anything:
    def compressed(self, digest: str) -> bytes:
        return b"data"


def ask(node: MemoryNode, request: Request = APPLY) -> Reply:
    async def talk() -> Reply:
        transport = Transport(Settings(), {"a": node})
        session = await transport.open("a", Connection("memory", "a"), (), Secrets())
        try:
            return await converse(session, request, Anything(), program=b"")
        finally:
            await session.close()
            await session.close()
            assert transport.open_now == 0

    return asyncio.run(talk())


def test_applies_and_then_has_nothing_to_do() -> None:
    node = MemoryNode(noise=b"Welcome \0CNI")
    assert len(ask(node).changes) == 1
    assert not ask(node).changes
    assert (node.generation, node.states, node.blobs) == (1, dict(APPLY.desired), {FILE.digest})


def test_a_plan_changes_nothing() -> None:
    node = MemoryNode()
    assert len(ask(node, Request("plan", desired=APPLY.desired)).changes) == 1
    assert not node.states


def test_what_is_owned_and_not_desired_goes() -> None:
    node = MemoryNode()
    ask(node)
    assert [change.sign for change in ask(node, Request("apply")).changes] == ["-"]
    assert not node.states


def test_unreachable() -> None:
    with pytest.raises(Unreachable, match="No route to host"):
        ask(MemoryNode(unreachable="No route to host"))


@pytest.mark.parametrize(("reason", "kind"), [("conflict", Conflict), ("failed", NodeFailed), ("new", NodeFailed)])
def test_its_error_is_raised_as_what_it_is(reason: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="moved"):
        ask(MemoryNode(error={"reason": reason, "message": "moved", "hint": None}))
