"""Traffic between nodes: from a container on each node to every node, mapped port and routed container.

Every node's containers must be up before any is reached, so that all sessions are open at once: two
rounds of questions over one session a node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from cni_provision import transport
from cni_provision.errors import NodeError
from cni_provision.events import Event, MeshResult, NodeFailed
from cni_provision.fleet import Job, Options, Program
from cni_provision.fleet_conversation import exchange, opening, read_reply
from cni_provision.inventory.patterns import is_address
from cni_provision.node.container import PORT
from cni_provision.node.mesh import Presence, Target
from cni_provision.node.protocol import Reply, frame
from cni_provision.transport.base import Session, Settings, Transport

END = frame(b"")
Emit = Callable[[Event], None]
Taken = TypeVar("Taken")


@dataclass(frozen=True)
class Present:
    """A node whose containers listen; `routed` are the networks whose addresses the fabric routes."""

    node: str
    address: str
    presences: tuple[Presence, ...]
    routed: frozenset[str]


@dataclass(frozen=True)
class Asked:
    """One node's session in the mesh."""

    job: Job
    session: Session
    present: Present


async def run(jobs: Sequence[Job], options: Options, emit: Emit) -> tuple[MeshResult | NodeFailed, ...]:
    """Every cell of the mesh, in the order of the nodes, after a `NodeFailed` for each node that took no part."""
    async with AsyncExitStack() as stack:
        opened = await asyncio.gather(*(attempt(attach(job, options, stack), job) for job in jobs))
        asked = [each for each in opened if isinstance(each, Asked)]
        failures = [each for each in opened if isinstance(each, NodeFailed)]
        present = [each.present for each in asked]
        reached = await asyncio.gather(*(attempt(measure(each, present), each.job) for each in asked))
    failures += [each for each in reached if isinstance(each, NodeFailed)]
    cells = [cell for each in reached if isinstance(each, tuple) for cell in each]
    for event in (*failures, *cells):
        emit(event)
    return (*failures, *cells)


async def attempt(doing: Coroutine[Any, Any, Taken], job: Job) -> Taken | NodeFailed:
    """What `doing` returns, or the node's failure as an event."""
    try:
        return await doing
    except NodeError as error:
        return NodeFailed(job.node.name, error.reason, error.message, error.hint)


async def attach(job: Job, options: Options, stack: AsyncExitStack) -> Asked:
    """Open a session, let the node attach its containers, and keep it open until the mesh ends."""
    program = options.program or Program()
    connection = job.node.connection
    session = await way(job, options).open(
        job.node.name, connection, program.argv(connection.python), options.secrets
    )
    stack.push_async_callback(end, session)
    reply = await ask(session, opening(program.source, job.request), first=True)
    return Asked(job, session, presence_of(job, reply))


def way(job: Job, options: Options) -> Transport:
    kind = job.node.connection.kind
    return options.transports.get(kind) or transport.load(kind, Settings(options.connect_timeout, options.mux))


async def ask(session: Session, blocks: Iterable[bytes], *, first: bool) -> Reply:
    try:
        return read_reply(await exchange(session, blocks, stop=asyncio.Event(), first=first))
    except EOFError:
        raise await session.diagnosis() from None


async def end(session: Session) -> None:
    """Let the node detach, and wait for it."""
    await session.write(END)
    await session.close()


async def measure(asked: Asked, present: Sequence[Present]) -> tuple[MeshResult, ...]:
    """One node's row: what its containers reached."""
    wanted = list(targets(asked.present, present))
    body = json.dumps([asdict(target) for target in wanted]).encode()
    reply = await ask(asked.session, (frame(body),), first=False)
    return tuple(cell(asked.present.node, reached) for reached in reply.facts["reached"])


def cell(node: str, reached: Mapping[str, object]) -> MeshResult:
    fields = {("target" if name == "kind" else name): value for name, value in reached.items()}
    return MeshResult(node=node, **fields)  # type: ignore[arg-type]


def presence_of(job: Job, reply: Reply) -> Present:
    """Where a node is: by the address that the inventory reaches it at, else by the one it tells."""
    host = job.node.connection.host
    address = host if is_address(host) else reply.facts["node_address"]
    routed = {network.name for network in job.node.declarations.networks if network.parameters.get("routed") is True}
    presences = tuple(Presence(**each) for each in reply.facts["presences"])
    return Present(job.node.name, address, presences, frozenset(routed))


def targets(source: Present, present: Iterable[Present]) -> Iterator[Target]:
    """What the containers of `source` must reach: each node, its mapped ports, and its routed containers.

    A network is compared with itself only: networks of one node may be kept apart on purpose.
    """
    mine = {presence.network for presence in source.presences}
    for peer in present:
        for presence in (each for each in peer.presences if each.network in mine):
            yield from targets_of(peer, presence, same_node=peer.node == source.node)


def targets_of(peer: Present, presence: Presence, *, same_node: bool) -> Iterator[Target]:
    network = presence.network
    yield Target(peer.node, network, "node", peer.address)
    if presence.host_port is not None:
        yield Target(peer.node, network, "port", peer.address, presence.host_port)
    if same_node or network in peer.routed:
        yield Target(peer.node, network, "container", presence.address, PORT)
