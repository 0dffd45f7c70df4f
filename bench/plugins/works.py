"""What is measured: each work as the steps of one engine, on networks that no two engines share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.plugins.driver import Lane, Phase, Step
from bench.plugins.engines import FLOOR, Engine

VERSION = "1.0.0"  # the newest that Debian's reference plugins know
LEASES = "/var/lib/leases"
FLOOR_TABLE = """
add table inet floor
add set inet floor sources { type ipv4_addr; }
add map inet floor ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
"""
FIRST_PORT = 10000
CONTAINER = "container-@{pod}-@{run}"


@dataclass(frozen=True)
class Chain:
    """A network: bridge and host-local, and what else each pod gets; `verbs` in the order of a pod's life."""

    name: str
    masquerade: bool = False
    ports: bool = False
    verbs: tuple[str, ...] = ("ADD", "CHECK", "DEL")
    pods: int = 1
    workers: int = 1


def netns(engine: Engine, pod: str = "@{pod}") -> str:
    return f"/run/netns/{engine.name}-{pod}"


def namespaces(engine: Engine, pods: int) -> list[str]:
    return [f"{engine.name}-{pod:04d}" for pod in range(pods)]


def bridge_of(engine: Engine) -> str:
    return f"cni-{engine.name}"


def prefix_of(engine: Engine) -> str:
    return f"10.{engine.number}"


def lane(engine: Engine, chain: Chain) -> Lane:
    steps = floor_steps if engine.name == FLOOR else plugin_steps
    phases = tuple(Phase(verb, steps(engine, chain, verb)) for verb in chain.verbs)
    return Lane(engine.name, phases, chain.pods, chain.workers)


def plugin_steps(engine: Engine, chain: Chain, verb: str) -> tuple[Step, ...]:
    """One execution for each plugin of the chain, for DEL the last one first."""
    plugins = [
        ("bridge", bridge_config(engine, chain)),
        *([("portmap", portmap_config(chain))] if chain.ports else []),
    ]
    ordered = plugins[::-1] if verb == "DEL" else plugins
    return tuple(
        engine.step(name, verb, text(config, chained=verb != "ADD" or name == "portmap"), netns(engine), CONTAINER)
        for name, config in ordered
    )


def floor_steps(engine: Engine, chain: Chain, verb: str) -> tuple[Step, ...]:
    parameters = {
        "NETNS": netns(engine), "IFNAME": "eth0", "BRIDGE": bridge_of(engine), "PREFIX": prefix_of(engine),
        "POD": "@{pod}", "LEASES": f"{LEASES}/{FLOOR}",
        **({"MASQUERADE": "1"} if chain.masquerade else {}),
        **({"PORT": str(FIRST_PORT)} if chain.ports else {}),
    }  # fmt: skip
    return (Step(f"floor:{verb}", "", parameters),)


def bridge_config(engine: Engine, chain: Chain) -> dict[str, Any]:
    network = f"{chain.name}-{engine.name}"
    keys = {"ipMasq": True} if chain.masquerade else {}
    return {
        "name": network, "type": "bridge", "bridge": bridge_of(engine), "isGateway": True, **keys,
        "ipam": ipam(prefix_of(engine)),
    }  # fmt: skip


def portmap_config(chain: Chain) -> dict[str, Any]:
    return {"name": chain.name, "type": "portmap", "runtimeConfig": {"portMappings": ["@{mapping}"]}}


def ipam(prefix: str) -> dict[str, Any]:
    routes = [{"dst": "0.0.0.0/0"}]
    return {"type": "host-local", "dataDir": LEASES, "ranges": [[{"subnet": f"{prefix}.0.0/16"}]], "routes": routes}


def text(config: Mapping[str, Any], *, chained: bool = False) -> str:
    """As the driver takes it: the answer so far and the pod's port are filled in there."""
    previous = {"prevResult": "@{prev}"} if chained else {}
    whole = json.dumps({"cniVersion": VERSION, **config, **previous})
    # 1 and four digits: FIRST_PORT and the pod's number
    mapping = '{"hostPort": 1@{pod}, "containerPort": 80, "protocol": "tcp"}'
    return whole.replace('"@{prev}"', "@{prev}").replace('"@{mapping}"', mapping)


def loopback(engine: Engine) -> Lane:
    """ADD, and a DEL that is not compared: it brings `lo` down again."""
    if engine.name == FLOOR:
        return Lane(engine.name, (Phase("ADD", (Step("floor:UP", "", {"NETNS": netns(engine), "POD": "0"}),)),))
    config = text({"name": "loopback", "type": "loopback"})
    steps = {verb: engine.step("loopback", verb, config, netns(engine), CONTAINER) for verb in ("ADD", "DEL")}
    return Lane(engine.name, tuple(Phase(verb, (step,)) for verb, step in steps.items()))


def version(engine: Engine, nothing: str) -> Lane:
    """The floor is the execution of a program that does nothing."""
    if engine.name == FLOOR:
        return Lane(engine.name, (Phase("VERSION", (Step(nothing),)),))
    config = json.dumps({"cniVersion": VERSION})
    return Lane(engine.name, (Phase("VERSION", (engine.step("bridge", "VERSION", config, "", ""),)),))


def leases(engine: Engine, taken: int) -> Lane:
    """host-local alone, in a network that has so many leases already."""
    network = lease_network(engine, taken)
    config = text({"name": network, "type": "bridge", "ipam": ipam(prefix_of(engine))})
    steps = (engine.step("host-local", verb, config, netns(engine), CONTAINER) for verb in ("ADD", "DEL"))
    return Lane(network, tuple(Phase(verb, (step,)) for verb, step in zip(("ADD", "DEL"), steps)))


def lease_network(engine: Engine, taken: int) -> str:
    return f"{engine.name}-{taken}"


def lease_files(prefix: str, count: int) -> Sequence[tuple[str, str]]:
    """Name and content of the files that host-local would have after `count` ADDs."""
    addresses = [f"{prefix}.{number >> 8}.{number & 255}" for number in range(2, count + 2)]
    held = [(address, f"early-{address}\r\neth0") for address in addresses]
    return [*held, ("last_reserved_ip.0", addresses[-1])] if held else []
