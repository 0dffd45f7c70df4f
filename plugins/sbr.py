"""sbr: answers leave by the interface that was asked: each address has a routing table of its own (a chained plugin).

The smallest configuration, after the plugin that makes the interface:

    {"type": "sbr"}

key             default     meaning
table           first free  a table that is there already: only rules that lead to it are made
gateways        IPAM's      gateways of the default routes: one of a family at most
addSourceHints  false       keep the routes to the subnets also for those who have not chosen an address yet

What comes from an address is looked up in its table, from 100 on, where the interface's routes are moved to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Optional

from cni_provision.attach import chain, interface
from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import INVALID_CONFIG, CNIError, IPAddress, IPConfig, IPNetwork, Result
from cni_provision.net import address, link, netns, route, rule
from cni_provision.net.link import Link
from cni_provision.net.route import Route
from cni_provision.net.rtnl import Socket
from cni_provision.net.rule import Rule
from cni_provision.net.undo import Undo

FIRST_TABLE = 100
EVERYWHERE: dict[int, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
LINK_LOCAL = ip_network("fe80::/10")


@dataclass(frozen=True)
class Network:
    """The configuration, checked. `table` is None where each address shall get a free one."""

    table: Optional[int]
    gateways: dict[int, IPAddress]  # by version
    hints: bool


def network(call: Call) -> Network:
    config = call.config
    table = config.integer("table", None)
    if table is not None and not 0 < table < 2**32:
        raise config.error("table", "must be from 1 to 4294967295")
    return Network(table, static_gateways(config), config.boolean("addSourceHints"))


def static_gateways(config: Config) -> dict[int, IPAddress]:
    written = config.texts("gateways")
    if len(written) > 2:
        raise config.error("gateways", "list cannot contain more than 2 entries (one IPv4, one IPv6)")
    found: dict[int, IPAddress] = {}
    for text in written:
        try:
            one = ip_address(text)
        except ValueError:
            raise CNIError(INVALID_CONFIG, f"invalid static gateway IP address: {text}") from None
        if one.version in found:
            raise config.error("gateways", f"list contains multiple IPv{one.version} addresses")
        found[one.version] = one
    return found


def own_ips(call: Call, before: Result) -> list[IPConfig]:
    found = interface.own_ips(call, before)
    if not found:
        raise CNIError(INVALID_CONFIG, f"No IP addresses supplied on interface: {call.ifname}")
    return found


def add(call: Call) -> Result:
    net, before = network(call), chain.previous(call)
    ips = own_ips(call, before)
    assert call.netns_fd is not None
    with netns.locked(call.netns_fd), Socket(call.netns_fd) as inside, Undo() as undo:
        if net.table is not None:
            look_up(inside, [Rule(ip.address.ip, net.table) for ip in ips], undo)
        else:
            separate(inside, link.get(inside, call.ifname), net, ips, undo)
        undo.keep()
    return before


def look_up(inside: Socket, rules: list[Rule], undo: Undo) -> None:
    present = {(one.source, one.table) for one in rule.dump(inside)}
    new = [one for one in rules if (one.source, one.table) not in present]
    undo.later(inside.perform, *map(rule.deleting, new))
    inside.perform(*map(rule.adding, new))


def separate(inside: Socket, own: Link, net: Network, ips: list[IPConfig], undo: Undo) -> None:
    """A table for each address, with what the interface has in the main one."""
    everything = [one for version in (4, 6) for one in route.dump(inside, version)]
    taken = {one.table for one in everything} | {one.table for one in rule.dump(inside)}
    free = (number for number in range(FIRST_TABLE, 2**32) if number not in taken)
    tables = dict(zip(ips, free))
    present = [
        one for one in everything if (one.table, one.index) == (route.RT_TABLE_MAIN, own.index) and movable(one)
    ]
    copies = [one for ip in ips for one in routes_of(ip, present, tables[ip], own, net)]
    undo.later(inside.perform, *(route.deleting(one, own.name) for one in copies))
    inside.perform(*(route.adding(one, own.name) for one in copies))
    look_up(inside, [Rule(ip.address.ip, table) for ip, table in tables.items()], undo)
    moved = [one for one in present if any(concerns(ip, one) for ip in ips)]
    stays = [one for one in moved if net.hints and one.scope == route.SCOPE_LINK]
    hinted = {(one.destination, one.source) for one in stays}
    hints = [
        one for one in (hint(ip, own) for ip in ips) if net.hints and (one.destination, one.source) not in hinted
    ]
    undo.later(inside.perform, *(route.adding(one, own.name) for one in reversed(moved)))
    undo.later(inside.perform, *(route.deleting(one, own.name) for one in hints))
    inside.perform(*(route.adding(one, own.name) for one in hints))
    inside.perform(*(route.deleting(one, own.name) for one in moved if one not in stays))


def movable(one: Route) -> bool:
    """The network of link-local addresses is everybody's."""
    return one.type == route.RTN_UNICAST and one.destination.network_address not in LINK_LOCAL


def concerns(ip: IPConfig, one: Route) -> bool:
    """Whether a route is for what comes from an address: by its source or gateway, or it is for everybody."""
    if one.destination.version != ip.address.version:
        return False
    subnet = ip.address.network
    return any(each in subnet for each in (one.source, one.gateway) if each) or not (one.source or one.gateway)


def routes_of(ip: IPConfig, present: Iterable[Route], table: int, own: Link, net: Network) -> Iterator[Route]:
    """What the table of an address has: neighbours first, because gateways are among them."""
    copied = [replace(one, table=table) for one in present if concerns(ip, one)]
    yield from (one for one in copied if not one.gateway)
    version = ip.address.version
    gateway = net.gateways.get(version, ip.gateway)
    default = Route(EVERYWHERE[version], gateway, own.index, table)
    same = any((one.destination, one.gateway) == (default.destination, gateway) for one in copied)
    if gateway and not same:
        yield default
    yield from (one for one in copied if one.gateway)


def hint(ip: IPConfig, own: Link) -> Route:
    """Which address to choose on the way to its subnet."""
    scope = route.SCOPE_LINK if ip.address.version == 4 else route.SCOPE_UNIVERSE
    return Route(ip.address.network, index=own.index, scope=scope, source=ip.address.ip)


def delete(call: Call) -> None:
    """The rules go; the tables go with the interface. It may be gone already: `prevResult` has its addresses too."""
    net = network(call)
    if call.netns_fd is None:
        return
    with netns.locked(call.netns_fd), Socket(call.netns_fd) as inside:
        own = link.find(inside, call.ifname)
        sources = {one.interface.ip for one in address.dump(inside, own)} if own else set()
        if call.prev_result:
            sources |= {ip.address.ip for ip in interface.own_ips(call, call.prev_result)}
        found = [one for one in rule.dump(inside) if one.source in sources and net.table in (None, one.table)]
        inside.perform(*map(rule.deleting, found))


def check(call: Call) -> None:
    net, ips = network(call), own_ips(call, chain.previous(call))
    with Socket(call.netns_fd) as inside:
        interface.refuse(call, list(differences(inside, net, ips)))


def differences(inside: Socket, net: Network, ips: list[IPConfig]) -> Iterator[str]:
    """What is not as ADD left it, as sentences."""
    rules = rule.dump(inside)
    for ip in ips:
        tables = {one.table for one in rules if one.source == ip.address.ip}
        gateway = net.gateways.get(ip.address.version, ip.gateway)
        default = (EVERYWHERE[ip.address.version], gateway)
        ways = [one for one in route.dump(inside, ip.address.version) if one.table in tables]
        if not tables or net.table not in (None, *tables):
            yield f"no rule says where to look up what comes from {ip.address.ip}"
        elif net.table is None and gateway and default not in [(one.destination, one.gateway) for one in ways]:
            yield f"what comes from {ip.address.ip} has no default route via {gateway}"


def status(call: Call) -> None:
    network(call)
    with Socket() as host:
        rule.dump(host)


PLUGIN = skel.Plugin("sbr", add, delete, check, status, about="CNI sbr plugin: source based routing")

if __name__ == "__main__":
    skel.main(PLUGIN)
