"""ptp: a veth pair between the container and the host, which routes; no bridge, no neighbours on the link.

The smallest configuration:

    {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.0.0/24"}]]}}

key            default     meaning
ipam           (needed)    gives the addresses; the host's end of every pair has the gateway's
ipMasq         false       masquerade what leaves the container's subnet
ipMasqBackend  nftables    or iptables, which is the default where `nft` is not installed
mtu            kernel's    of both ends
dns            IPAM's      in the result

Also what goes to the container's own subnet goes through the host: only the gateway is on the link.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from typing import Optional

from cni_provision.attach import interface, ipam, options, pair
from cni_provision.attach.interface import addresses, attachment, described
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import IPAddress, IPInterface, IPNetwork, Result
from cni_provision.net import address, container, link, record, route, sysctl
from cni_provision.net.container import Pair
from cni_provision.net.link import Link, Settings
from cni_provision.net.route import Route
from cni_provision.net.rtnl import Request, Socket
from cni_provision.net.undo import Undo

CONTAINER = 1  # the index of its interface in the result
HOST_END = ("net/ipv6/conf/{}/accept_ra", "net/ipv6/conf/{}/accept_dad")  # no routes from there, no duplicates


@dataclass(frozen=True)
class Network:
    """The configuration, checked. `mtu` is None where the kernel shall choose."""

    masquerade: str
    mtu: Optional[int]
    check_source: bool = False


def network(call: Call) -> Network:
    ipam.require(call, "`ipam` is missing: a ptp interface is of no use without addresses")
    mtu = options.within(call.config, "mtu", 0, 65535) or None
    return Network(options.masquerades(call.config), mtu)


def add(call: Call) -> Result:
    net, mine = network(call), attachment(call, "ptp")
    with record.held(mine), Socket() as host, Socket(call.netns_fd) as inside, Undo() as undo:
        before = record.read(mine)
        undo.later(record.restore, mine, before)
        inner = Settings(name=call.ifname, mtu=net.mtu, netns_fd=call.netns_fd)
        both = pair.plug(mine, host, inside, inner, Settings(mtu=net.mtu), undo)
        planned = with_gateways(ipam.lease(call, undo))
        pair.take_off_rules(mine, before or record.NOTHING)  # of an ADD that was killed
        pair.add_rules(mine, both, addresses(planned), net, undo)
        sysctl.write_present({key.format(both.outer.name): "0" for key in HOST_END})
        host.perform(link.changing(both.outer, Settings(up=True, alias=pair.alias(mine))))
        configure(call, inside, both.inner, planned)
        host.perform(*host_side(both.outer, planned))
        pair.forward(addresses(planned))
        undo.keep()
    return whole_result(call, both, planned)


def with_gateways(given: Result) -> Result:
    """Whose the addresses are, and the host's for each."""
    ips = (replace(ip, interface=CONTAINER, gateway=ip.gateway or pair.first_address(ip.address)) for ip in given.ips)
    return replace(given, ips=tuple(ips))


def gateways(planned: Result) -> list[tuple[IPInterface, IPAddress]]:
    """The container's addresses and the host's for each."""
    return [(ip.address, ip.gateway) for ip in planned.ips if ip.gateway is not None]


def alone(one: IPAddress) -> IPNetwork:
    """The network of a single address."""
    return ip_network(one)


def configure(call: Call, inside: Socket, inner: Link, planned: Result) -> None:
    """Addresses and routes of the container's end. There is nobody on the link who could have the same address."""
    interface.configure(call, inside, inner, planned, detect_duplicates=False)
    through = (route.adding(way, inner.name) for way in through_the_host(inner, planned))
    inside.perform(*off_the_link(inner, planned), *through)


def off_the_link(inner: Link, planned: Result) -> Iterator[Request]:
    """Delete the routes that the kernel has made with the addresses."""
    for own in addresses(planned):
        made = Route(own.network, index=inner.index, scope=route.SCOPE_ANY, type=0, protocol=0)
        yield route.deleting(made, inner.name)


def through_the_host(inner: Link, planned: Result) -> Iterator[Route]:
    """Only the gateway is on the link, everybody else behind it."""
    for own, gateway in gateways(planned):
        scope = route.SCOPE_LINK if own.version == 4 else route.SCOPE_UNIVERSE
        yield Route(alone(gateway), index=inner.index, scope=scope, source=own.ip)
        if own.network.num_addresses > 1:
            yield Route(own.network, gateway, inner.index, source=own.ip)


def host_side(outer: Link, planned: Result) -> Iterator[Request]:
    """The gateways' addresses on the host's end, and a route to each of the container's."""
    for own in gateway_addresses(planned):
        yield address.adding(outer, own, address.IFA_F_NODAD if own.version == 6 else 0)
    for one in addresses(planned):
        scope = route.SCOPE_HOST if one.version == 4 else route.SCOPE_UNIVERSE
        yield route.adding(Route(alone(one.ip), index=outer.index, scope=scope), outer.name)


def gateway_addresses(planned: Result) -> list[IPInterface]:
    """As the host's end has them: each alone in its network."""
    return list(dict.fromkeys(ip_interface(gateway) for _, gateway in gateways(planned)))


def whole_result(call: Call, both: Pair, planned: Result) -> Result:
    ends = (described(both.outer), described(both.inner, call.netns))
    return replace(planned, cni_version=call.version, interfaces=ends, dns=interface.dns(call, planned))


def delete(call: Call) -> None:
    pair.delete(call, attachment(call, "ptp"), network(call))


def check(call: Call) -> None:
    net = network(call)
    pair.check(call, lambda expected, host, inside: differences(call, net, expected, host, inside))


def differences(call: Call, net: Network, expected: Result, host: Socket, inside: Socket) -> Iterator[str]:
    """What is not as ADD left it, as sentences."""
    both = yield from pair.ends(call, expected, host, inside)
    if both:
        yield from interface.missing(call, inside, expected)
        reached = [alone(own.ip) for own in addresses(expected)]
        yield from container.missing(host, both.outer.name, gateway_addresses(expected), reached)
    yield from pair.not_masqueraded(attachment(call, "ptp"), addresses(expected), net)


def status(call: Call) -> None:
    net = network(call)
    with Socket() as host:
        interface.require_kinds(host, "veth")
    pair.require_program(net)
    ipam.status(call)


def gc(call: Call) -> None:
    network(call)
    pair.gc(call, "ptp")


PLUGIN = skel.Plugin("ptp", add, delete, check, status, gc, about="CNI ptp plugin: containers behind a routing host")
