"""`ansible_connection: memory`: nodes that are values, for tests of anything that talks to a fleet.

    nodes = {"a": MemoryNode(), "b": MemoryNode(unreachable="No route to host")}
    transports = {"memory": Transport(Settings(), nodes)}
    outcomes = asyncio.run(fleet.run(jobs, fleet.Options(transports=transports), emit))
    assert nodes["a"].generation == 1

A node speaks the real protocol (`cni_provision.node.protocol`) and decides by the real `plan`; its "disk"
is a mapping of states. A host that no `MemoryNode` was given for is an empty node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cni_provision.errors import NodeFailed, Unreachable
from cni_provision.inventory.model import Connection
from cni_provision.node.protocol import LENGTH, Reply, Request, frame, request_from_json, to_json
from cni_provision.plan import DIRECTORY, File, State, plan
from cni_provision.transport.base import MARKER, Secrets, Session, Settings, skip_past

CHANGING = ("apply", "rollback", "remove")


@dataclass
class MemoryNode:
    """One node: what it has, and how it misbehaves.

    `states` by key; `owned` keys are ours; `blobs` are digests it holds. `unreachable` is the message with
    which it cannot be reached, `error` the `{reason, message, hint}` that it answers, `silent` takes
    everything and never answers. `noise` comes before its marker, `delay` is its thinking time in seconds,
    `hop` is the jump host before it. `served` counts sessions.
    """

    states: dict[str, State] = field(default_factory=dict)
    owned: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    generation: int = 0
    unreachable: str | None = None
    error: dict[str, Any] | None = None
    silent: bool = False
    noise: bytes = b""
    delay: float = 0.0
    hop: str | None = None
    served: int = 0

    def needs(self, request: Request) -> tuple[str, ...]:
        """The digests that must be sent before `request` can be applied."""
        files = (change.after for change in self._plan(request))
        digests = {state.digest for state in files if isinstance(state, File) and state.digest != DIRECTORY}
        return tuple(sorted(digests - self.blobs)) if request.verb in CHANGING else ()

    def answer(self, request: Request) -> Reply:
        """Do what is asked and say what was done."""
        if self.error:
            return Reply(error=self.error)
        changes = tuple(self._plan(request))
        if request.verb not in CHANGING:
            return Reply(changes=changes, generation=self.generation)
        for change in changes:
            if change.after is None:
                self.states.pop(change.key, None)
            else:
                self.states[change.key] = change.after
        self.owned = set(request.desired)
        self.generation += bool(changes)
        return Reply(changes=changes, generation=self.generation, applied=True)

    def _plan(self, request: Request) -> list[Any]:
        return plan(request.desired, self.states, dict.fromkeys(self.owned))


class Transport:
    """Sessions with nodes by `connection.host`; `most` is the largest number of sessions that were open at once."""

    def __init__(self, settings: Settings, nodes: dict[str, MemoryNode] | None = None) -> None:
        self.nodes = {} if nodes is None else nodes
        self.open_now = 0
        self.most = 0

    async def shared_hop(self, connection: Connection) -> str | None:
        return self._node(connection).hop

    async def open(self, node: str, connection: Connection, argv: Sequence[str], secrets: Secrets) -> Session:
        here = self._node(connection)
        here.served += 1
        if here.unreachable:
            await asyncio.sleep(here.delay)
            raise Unreachable(here.unreachable, node=node)
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        return MemorySession(node, here, self)

    def _node(self, connection: Connection) -> MemoryNode:
        return self.nodes.setdefault(connection.host, MemoryNode())


class MemorySession:
    """A conversation with a `MemoryNode`, byte by byte as over any other transport."""

    def __init__(self, name: str, node: MemoryNode, transport: Transport) -> None:
        self._name = name
        self._node = node
        self._transport = transport
        self._stdin = asyncio.StreamReader()
        self._stdout = asyncio.StreamReader()
        self._program = asyncio.create_task(self._serve())
        self._open = True

    async def write(self, block: bytes) -> None:
        if self._open and not self._program.done():
            self._stdin.feed_data(block)
        await asyncio.sleep(0)

    async def read(self, size: int) -> bytes:
        return await self._stdout.readexactly(size)

    async def close(self) -> None:
        await self.abandon()

    async def abandon(self) -> None:
        if self._open:
            self._open = False
            self._transport.open_now -= 1
            self._program.cancel()
            with suppress(asyncio.CancelledError):
                await self._program

    async def diagnosis(self) -> Exception:
        return NodeFailed("the node program ended", node=self._name)

    async def _serve(self) -> None:
        with suppress(asyncio.IncompleteReadError):
            await self._converse()
        self._stdout.feed_eof()

    async def _converse(self) -> None:
        await skip_past(self._stdin.readexactly, MARKER)
        await self._frame()
        request = request_from_json(await self._frame())
        if self._node.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(self._node.delay)
        self._stdout.feed_data(self._node.noise + MARKER)
        need = () if self._node.error else self._node.needs(request)
        if need:
            self._stdout.feed_data(frame(to_json(Reply(need=need))))
            while blob := await self._frame():
                self._node.blobs.add(blob[:32].hex())
        self._stdout.feed_data(frame(to_json(self._node.answer(request))))

    async def _frame(self) -> bytes:
        (length,) = LENGTH.unpack(await self._stdin.readexactly(LENGTH.size))
        return await self._stdin.readexactly(length)
