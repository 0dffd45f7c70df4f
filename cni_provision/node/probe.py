"""The live probe: throwaway containers are attached through the runtime library, and traffic flows or not.

Nothing is left behind: namespaces live only as descriptors of this process, and the probe has a result
cache of its own, from which the next probe detaches what a killed one left.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from cni_provision.checks.subject import CheckedNetwork, Subject
from cni_provision.cni.config import NetworkConfig, load, load_conflist
from cni_provision.cni.types import CNIError
from cni_provision.node.container import CACHE, PORT, Attached, attached, runtime_for
from cni_provision.node.protocol import CheckOutcome
from cni_provision.node.traffic import connect, echo, listener

SETTLE = 3.0  # seconds within which an answer must come
NODE_IS_GATEWAY = ("bridge", "ptp")  # plugins whose gateway is the node itself


class Unproved(Exception):
    """A part of the probe that says nothing about this network, with the reason."""


def probe(subject: Subject) -> tuple[CheckOutcome, ...]:
    """Send traffic through each network that `subject.probe` names; one outcome or more for each."""
    with serialised():
        detach_leftovers(subject)
        chosen = [network for network in subject.networks if network.name in subject.probe]
        return tuple(outcome for network in chosen for outcome in probe_network(subject, network))


@contextmanager
def serialised() -> Iterator[None]:
    """One probe at a time on a node."""
    os.makedirs(CACHE, mode=0o700, exist_ok=True)
    with open(f"{CACHE}/lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def detach_leftovers(subject: Subject) -> None:
    """Detach what a killed probe left; its namespaces are gone already."""
    runtime = runtime_for(subject)
    for left in runtime.attachments():
        runtime.delete(load(left.config), left.attachment, continue_on_error=True)


def probe_network(subject: Subject, network: CheckedNetwork) -> tuple[CheckOutcome, ...]:
    """Attach two containers, send traffic, detach, look for leftovers."""
    outcomes: list[CheckOutcome] = []
    try:
        outcomes.extend(traffic(subject, network))
    except (CNIError, OSError) as failure:
        outcomes.append(CheckOutcome("attach", "fail", str(failure), network.name))
    return tuple(outcomes)


def traffic(subject: Subject, network: CheckedNetwork) -> Iterator[CheckOutcome]:
    config = load_conflist(network.text.encode())
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(attached(subject, config, with_port=maps_ports(config))) for _ in range(2)
        )
        yield judged("containers", network, lambda: between(first, second))
        yield judged("gateway", network, lambda: to_gateway(config, first))
        if second.host_port is not None:
            yield judged("mapped port", network, lambda: to_mapped_port(second))
    yield judged("leftovers", network, lambda: nothing_left(subject, config, (first, second)))


def judged(part: str, network: CheckedNetwork, act: Callable[[], str]) -> CheckOutcome:
    """One part of the probe: pass with what it says, skip when it proves nothing, fail with the reason."""
    try:
        return CheckOutcome(part, "pass", act(), network.name)
    except Unproved as reason:
        return CheckOutcome(part, "skip", str(reason), network.name)
    except (CNIError, OSError) as failure:
        return CheckOutcome(part, "fail", str(failure), network.name)


def maps_ports(config: NetworkConfig) -> bool:
    return any("portMappings" in plugin.capabilities for plugin in config.plugins)


def between(first: Attached, second: Attached) -> str:
    """TCP from the first container to every address of the second."""
    if not second.addresses:
        raise Unproved("the network gives no addresses")
    return ", ".join(
        f"{source} -> {address} {reach(first, second, address):.1f} ms"
        for source, address in zip(first.addresses, second.addresses)
    )


def reach(first: Attached, second: Attached, address: str) -> float:
    # a loopback address is each container's own: it is reached from inside the second
    source = second if second.attachment.ifname == "lo" else first
    with listener(second.namespace, address, PORT):
        try:
            return connect(source.namespace, address, PORT, within=SETTLE)
        except OSError as failure:
            raise OSError(f"no connection from container to container at {address}: {failure}") from failure


def to_gateway(config: NetworkConfig, container: Attached) -> str:
    """An echo request to each gateway; one that is not this node may be silent."""
    if not container.gateways:
        raise Unproved("the network has no gateway")
    answers = []
    for gateway in container.gateways:
        try:
            answers.append(f"{gateway} {echo(container.namespace, gateway, within=SETTLE):.1f} ms")
        except OSError as failure:
            if config.plugins[0].type in NODE_IS_GATEWAY:
                raise
            raise Unproved(f"{failure}; it is not this node") from failure
    return ", ".join(answers)


def to_mapped_port(container: Attached) -> str:
    """TCP from the node itself to the mapped port at the network's gateway, or at 127.0.0.1 without one."""
    port = container.host_port or 0
    address = next((gateway for gateway in container.gateways if ":" not in gateway), "127.0.0.1")
    with listener(container.namespace, container.addresses[0], PORT):
        took = connect(None, address, port, within=SETTLE)
    return f"{address} port {port} {took:.1f} ms"


def nothing_left(subject: Subject, config: NetworkConfig, containers: tuple[Attached, ...]) -> str:
    """No host interface, lease or cached result of the throwaway containers is left; raises `OSError` if one is."""
    identities = [container.attachment.container_id for container in containers]
    left = [name for container in containers for name in host_interfaces(container)]
    left += [path for path, owner in leases(subject, config) if owner in identities]
    left += [name for name in os.listdir(f"{CACHE}/results") if any(one in name for one in identities)]
    if left:
        raise OSError(f"left after detaching: {', '.join(left)}")
    return "nothing is left"


def host_interfaces(container: Attached) -> list[str]:
    """The container's own ends on the node (not a bridge, which stays) that still exist."""
    names = [one.name for one in container.result.interfaces if not one.sandbox and one.name.startswith("veth")]
    return [name for name in names if os.path.exists(f"/sys/class/net/{name}")]


def leases(subject: Subject, config: NetworkConfig) -> Iterator[tuple[str, str]]:
    """Each host-local lease of the network: its path and the container id in it."""
    ipam = config.plugins[0].raw.get("ipam") or {}
    folder = f"{ipam.get('dataDir') or subject.cache_dir + '/networks'}/{config.name}"
    if not os.path.isdir(folder):
        return
    for name in os.listdir(folder):
        if name != "lock" and not name.startswith("last_reserved_ip"):
            with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as lease:
                yield f"{folder}/{name}", lease.read(512).split("\n")[0].strip()
