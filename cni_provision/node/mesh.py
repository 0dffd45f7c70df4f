"""One node's part of the mesh: containers that listen, and connections to what the controller names.

The node tells where its containers are; the controller names targets; the node connects to them and tells
the outcomes; an empty frame from the controller ends it, and the node detaches.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Callable

from cni_provision.checks.subject import Subject
from cni_provision.cni.config import load_conflist
from cni_provision.node.container import PORT, Attached, attached
from cni_provision.node.probe import detach_leftovers, maps_ports, serialised
from cni_provision.node.protocol import Reply
from cni_provision.node.traffic import connect, echo, listener

WITHIN = 3.0  # seconds for one target
AT_ONCE = 16  # targets tried at the same time
DISCARD_PORT = 9  # a UDP socket is "connected" to it to learn a source address; nothing is sent


@dataclass(frozen=True)
class Target:
    """Something to reach from a network's container: `kind` is node (echo), port or container (TCP)."""

    peer: str
    network: str
    kind: str
    address: str
    port: int = 0


@dataclass(frozen=True)
class Reached:
    """A target's outcome: pass with milliseconds, or fail with the reason."""

    peer: str
    network: str
    kind: str
    outcome: str
    milliseconds: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class Presence:
    """Where a network's container can be reached: its address, and the port of the node that maps to it."""

    network: str
    address: str
    host_port: int | None


def serve(subject: Subject, receive: Callable[[], bytes], send: Callable[[Reply], None]) -> None:
    """Speak the mesh's conversation; `receive` gives the body of the controller's next frame."""
    with serialised(), ExitStack() as stack:
        detach_leftovers(subject)
        containers = {container.network.name: container for container in open_containers(subject, stack)}
        send(Reply(facts={"node_address": node_address(), "presences": presences(containers)}))
        targets = [Target(**target) for target in json.loads(receive())]
        send(Reply(facts={"reached": [asdict(outcome) for outcome in reach_all(containers, targets)]}))
        receive()


def open_containers(subject: Subject, stack: ExitStack) -> Iterator[Attached]:
    """A listening container on each probed network that gives addresses and is not the loopback."""
    for network in subject.networks:
        config = load_conflist(network.text.encode())
        if network.name in subject.probe and network.types != ("loopback",):
            container = stack.enter_context(attached(subject, config, with_port=maps_ports(config)))
            if container.addresses:
                stack.enter_context(listener(container.namespace, container.addresses[0], PORT))
                yield container


def presences(containers: Mapping[str, Attached]) -> list[dict[str, Any]]:
    return [
        asdict(Presence(name, container.addresses[0], container.host_port)) for name, container in containers.items()
    ]


def node_address() -> str:
    """The node's own address on the way to the world; of its first address where it has no default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", DISCARD_PORT))
        except OSError:
            return socket.gethostbyname(socket.gethostname())
        address: str = probe.getsockname()[0]
        return address


def reach_all(containers: Mapping[str, Attached], targets: Iterable[Target]) -> list[Reached]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda target: reach(containers[target.network], target), targets))


def reach(container: Attached, target: Target) -> Reached:
    """Try one target from inside its network's container."""
    try:
        if target.kind == "node":
            took = echo(container.namespace, target.address, within=WITHIN)
        else:
            took = connect(container.namespace, target.address, target.port, within=WITHIN)
    except OSError as failure:
        return Reached(target.peer, target.network, target.kind, "fail", message=str(failure))
    return Reached(target.peer, target.network, target.kind, "pass", round(took, 2))
