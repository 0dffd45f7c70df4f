"""What plugins that make interfaces share: a pair into a container, its addresses and routes, and looking at them.

The host's end of a pair carries its attachment as alias, `network/container id/ifname`: people see it in
`ip link`, DEL and GC find an end whose container's namespace nobody can open any more.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional, Protocol

from cni_provision.net import address, departure, link, record, route, sysctl
from cni_provision.net.address import IPInterface
from cni_provision.net.errors import NetError
from cni_provision.net.link import Link, Settings
from cni_provision.net.record import Attachment, Made
from cni_provision.net.route import IPNetwork, Route
from cni_provision.net.rtnl import IPAddress, NetlinkError, Socket
from cni_provision.net.undo import Undo

NAME_ATTEMPTS = 10
ALIAS_BYTES = 255
DAD_SECONDS = 5.0
# By default the kernel makes one queue per processor at each end, and takes all but one out of use at once, which
# waits for all processors: half of the time that a pair takes (0.45 → 0.25 ms with two).
QUEUES = 1
SCOPE_OF_NEIGHBOURS = 253  # from here on a destination is on the link, and has no gateway


class PlannedRoute(Protocol):
    """A route as a CNI result has it (specification, section 5)."""

    @property
    def dst(self) -> IPNetwork: ...
    @property
    def gw(self) -> Optional[IPAddress]: ...
    @property
    def mtu(self) -> Optional[int]: ...
    @property
    def advmss(self) -> Optional[int]: ...
    @property
    def priority(self) -> Optional[int]: ...
    @property
    def table(self) -> Optional[int]: ...
    @property
    def scope(self) -> Optional[int]: ...


@dataclass(frozen=True)
class Pair:
    """A veth pair: `outer` on the host's side, `inner` in the container."""

    outer: Link
    inner: Link


def connect(
    host: Socket,
    container: Socket,
    inner: Settings,
    outer: Settings,
    note: Callable[[str], object] = lambda name: None,
) -> Pair:
    """Make a veth pair: `inner` in the container, `outer` here, named `veth` and 8 hexadecimal digits.

    `note` gets that name before there is such an interface. NetError EEXIST when the container has one like `inner`.
    """
    assert inner.name is not None
    for _ in range(NAME_ATTEMPTS):
        name = f"veth{os.urandom(4).hex()}"
        note(name)
        make = link.creating(link.veth(replace(inner, queues=QUEUES)), replace(outer, name=name, queues=QUEUES))
        try:
            (found,) = host.perform(make, link.finding(name))
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            if link.find(container, inner.name):
                raise NetError(errno.EEXIST, f"the container has an interface `{inner.name}` already") from error
        else:
            with Undo() as undo:
                undo.later(delete_port, host, Made(name))
                pair = Pair(link.decode(found), link.get(container, inner.name))
                undo.keep()
            return pair
    raise NetError(errno.EEXIST, f"{NAME_ATTEMPTS} random interface names are all taken")


def configure(
    socket: Socket,
    netns_fd: int,
    inner: Link,
    addresses: Sequence[IPInterface],
    routes: Iterable[Route],
    *,
    detect_duplicates: bool = True,
) -> None:
    """Give an interface its addresses, bring it up, wait until IPv6 ones are usable, add the routes."""
    has_ipv6 = any(one.version == 6 for one in addresses)
    if has_ipv6:
        allow_ipv6(inner.name, netns_fd)
    requests = [
        address.adding(inner, one, 0 if detect_duplicates or one.version == 4 else address.IFA_F_NODAD)
        for one in addresses
    ]
    requests.append(link.changing(inner, Settings(up=True)))
    if has_ipv6:
        socket.perform(*requests)
        requests.clear()
        address.wait_until_usable(socket, inner, DAD_SECONDS)
    socket.perform(*requests, *(route.adding(planned, inner.name) for planned in routes))


def allow_ipv6(ifname: str, netns_fd: int) -> None:
    """Some runtimes start containers with IPv6 off; an address of the network says that it is wanted."""
    wanted = {f"net/ipv6/conf/{name}/disable_ipv6": "0" for name in ("lo", ifname)}
    sysctl.write_present({**wanted, f"net/ipv6/conf/{ifname}/keep_addr_on_down": "1"}, netns_fd)


def routes(planned: Iterable[PlannedRoute], gateways: Sequence[IPAddress], index: int) -> list[Route]:
    """A result's routes for one link; a missing gateway is the first of `gateways` of that family."""
    return [_route(one, gateways, index) for one in planned]


def _route(planned: PlannedRoute, gateways: Sequence[IPAddress], index: int) -> Route:
    gateway = planned.gw
    if gateway is None and (planned.scope or 0) < SCOPE_OF_NEIGHBOURS:
        gateway = next((one for one in gateways if one.version == planned.dst.version), None)
    default_scope = route.SCOPE_LINK if gateway is None and planned.dst.version == 4 else route.SCOPE_UNIVERSE
    return Route(
        destination=planned.dst,
        gateway=gateway,
        index=index,
        table=planned.table if planned.table is not None else route.RT_TABLE_MAIN,
        priority=planned.priority or 0,
        scope=planned.scope if planned.scope is not None else default_scope,
        mtu=planned.mtu or 0,
        advmss=planned.advmss or 0,
    )


class PlannedInterface(Protocol):
    """An interface as a CNI result has it."""

    @property
    def mac(self) -> str: ...


def unlike(found: Optional[Link], name: str, kind: str, planned: Mapping[str, PlannedInterface]) -> list[str]:
    """What is not as planned of an interface, as sentences; `planned` by name, from the side that it is on."""
    if found is None:
        return [f"interface `{name}` is gone"]
    if found.kind != kind:
        return [f"interface `{name}` is no {kind} but `{found.kind}`"]
    if name not in planned:
        return [f"`prevResult` has no interface `{name}` on that side"]
    wanted = planned[name].mac.lower()
    return [f"`{name}` has the MAC address {found.mac}, not {wanted}"] if wanted not in ("", found.mac) else []


def missing(
    socket: Socket, ifname: str, addresses: Iterable[IPInterface], destinations: Iterable[IPNetwork]
) -> list[str]:
    """What an interface lacks of the expected, as sentences. Routes count in any table: later plugins move them."""
    found = link.find(socket, ifname)
    if found is None:
        return [f"interface `{ifname}` is gone"]
    wrong = [] if found.up else [f"interface `{ifname}` is down"]
    present = {one.interface for one in address.dump(socket, found)}
    wrong += [f"address `{one}` is not on `{ifname}`" for one in addresses if one not in present]
    wanted = set(destinations)
    versions = {one.version for one in wanted}
    reached = {one.destination for version in versions for one in route.dump(socket, version)}
    return wrong + [f"route to `{one}` is gone" for one in sorted(wanted - reached, key=str)]


def alias(network: str, container_id: str, ifname: str) -> Optional[str]:
    """The alias of an attachment's host end; None where the kernel could not hold it."""
    text = f"{network}/{container_id}/{ifname}"
    return text if len(text.encode()) <= ALIAS_BYTES else None


def host_end(socket: Socket, network: str, container_id: str, ifname: str) -> Optional[Link]:
    wanted = alias(network, container_id, ifname)
    return next((one for one in link.dump(socket) if wanted and one.alias == wanted), None)


def unplug(attachment: Attachment, made: Made, netns_fd: Optional[int]) -> None:
    """Delete a pair by its noted end on the host; else by that in the container, or the one whose alias names it."""
    with Socket() as host:
        if made.port and delete_port(host, made):
            return
        if netns_fd is None:
            outer = host_end(host, attachment.network, attachment.container_id, attachment.ifname)
            if outer:
                departure.delete(host, outer)
            return
    with Socket(netns_fd) as inside:
        inner = link.find(inside, attachment.ifname)
        if inner and inner.kind == "veth":
            departure.delete(inside, inner, netns_fd)


def delete_port(host: Socket, made: Made) -> bool:
    """Delete the noted end of a pair; False where it is gone, or its index belongs to something else now."""
    found = link.find_index(host, made.index) if made.index else link.find(host, made.port)
    if found is None or (found.name, found.kind) != (made.port, "veth"):
        return False
    departure.delete(host, found)
    return True


def unplug_stale(plugin: str, network: str, valid: Collection[tuple[str, str]]) -> None:
    """Delete the host ends of what is not valid, by alias; by record where an ADD was killed before it gave one."""
    with Socket() as host:
        for one in stale_ends(link.dump(host), network, valid):
            departure.delete(host, one)
        for attachment, made in record.of_network(plugin, network):
            if made.port and (attachment.container_id, attachment.ifname) not in valid:
                with record.held_if_free(attachment) as free:
                    if free:
                        delete_port(host, made)


def stale_ends(links: Iterable[Link], network: str, valid: Collection[tuple[str, str]]) -> list[Link]:
    """Host ends of `network` whose (container id, ifname) is not in `valid`."""
    keep = {alias(network, *one) for one in valid}
    ours = (one for one in links if one.kind == "veth" and one.alias.startswith(f"{network}/"))
    return [one for one in ours if one.alias not in keep]
