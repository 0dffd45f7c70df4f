"""Subnets that collide: on one node, and between nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cni_provision.inventory.addresses import Subnet
from cni_provision.inventory.complaints import Complaints

HINT = "give each node its own, for example `10.42.{{ node_index }}.0/24`"
SHARED_HINT = "give each node its own `range_start` and `range_end`"


@dataclass(frozen=True)
class Taken:
    """Addresses from `first` to `last` (as numbers) that a subnet of a node takes."""

    first: int
    last: int
    node: str
    subnet: Subnet


Pairs = Iterator[tuple[Taken, Taken]]


def on_node(node: str, subnets: Sequence[Subnet], complaints: Complaints) -> None:
    """Two networks of a node may not share addresses, unless they share a segment and hand out different ones."""
    for one, other in colliding([whole(node, subnet) for subnet in subnets]):
        earlier, later = sorted((one.subnet, other.subnet), key=lambda subnet: subnets.index(subnet))
        same = earlier.network == later.network
        if (same or (earlier.segment and later.segment)) and not ranges_meet(earlier, later):
            continue
        first = "the same network" if same else f"network `{earlier.network}`"
        complaints.error(
            f"`{later.value}` of network `{later.network}` overlaps `{earlier.value}` of {first}",
            later.at,
            rule=f"overlap with {earlier.network}",
            related=((earlier.at.place, f"`{earlier.network}` is declared here"),),
        )


def between_nodes(
    fleet: Iterable[tuple[str, Sequence[Subnet]]], selected: Iterable[str], complaints: Complaints
) -> None:
    """Routed subnets are one node's alone; on a shared segment, addresses are. Only selected nodes are reported."""
    chosen = set(selected)
    routed: list[Taken] = []
    segments: dict[str, list[Taken]] = {}
    for node, subnets in fleet:
        for subnet in subnets:
            if subnet.routed:
                routed.append(whole(node, subnet))
            elif subnet.segment:
                segments.setdefault(subnet.network, []).append(handed_out(node, subnet))
    report = Report(chosen, complaints)
    report.all(colliding(routed), lambda subnet: f"`{subnet.value}`", "is routed but", HINT)
    for taken in segments.values():
        report.all(colliding(taken), span, "is on a shared segment but", SHARED_HINT)


@dataclass(frozen=True)
class Report:
    """Collisions of different nodes as mistakes."""

    selected: set[str]
    complaints: Complaints

    def all(self, pairs: Pairs, shown: Callable[[Subnet], str], why: str, hint: str) -> None:
        for pair in pairs:
            one, other = pair if pair[1].node in self.selected else pair[::-1]
            if one.node == other.node or other.node not in self.selected:
                continue
            same = one.subnet.value == other.subnet.value and span(one.subnet) == span(other.subnet)
            relation = "is the same as on" if same else f"overlaps {shown(one.subnet)} of"
            related = ((one.subnet.at.place, f"that of node `{one.node}`"),)
            self.complaints.error(
                f"network `{other.subnet.network}` {why} {shown(other.subnet)} {relation} node `{one.node}`",
                other.subnet.at,
                hint,
                rule=f"between nodes {other.subnet.network}",
                related=related if one.subnet.at.place != other.subnet.at.place else (),
                on=other.node,
            )


def whole(node: str, subnet: Subnet) -> Taken:
    return Taken(int(subnet.value.network_address), int(subnet.value.broadcast_address), node, subnet)


def handed_out(node: str, subnet: Subnet) -> Taken:
    return Taken(int(subnet.first), int(subnet.last), node, subnet)


def span(subnet: Subnet) -> str:
    """The addresses that are given to containers."""
    return f"`{subnet.first}` to `{subnet.last}`"


def ranges_meet(one: Subnet, other: Subnet) -> bool:
    return int(one.first) <= int(other.last) and int(other.first) <= int(one.last)


def colliding(taken: Sequence[Taken]) -> Pairs:
    """Each that begins before the reach of those before it, with the one that reaches farthest."""
    for version in (4, 6):
        reach: Taken | None = None
        of_version = (item for item in taken if item.subnet.version == version)
        for item in sorted(of_version, key=lambda item: (item.first, -item.last)):
            if reach and item.first <= reach.last:
                yield reach, item
            if reach is None or item.last > reach.last:
                reach = item
