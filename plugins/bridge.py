"""bridge: a veth pair from the container to a bridge on the host, which may be its gateway.

The smallest configuration:

    {"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.0.0/24"}]]}}

key                        default  meaning
bridge                     cni0     the bridge, made when it is not there
isGateway                  false    the bridge has the gateway's addresses, and the host forwards
isDefaultGateway           false    isGateway, and the container's default route unless IPAM gives one
forceAddress               false    take other addresses off the bridge instead of failing
ipMasq                     false    masquerade what leaves the container's subnet
ipMasqBackend              nftables or iptables, which is the default where `nft` is not installed
mtu                        kernel's of both ends, and of the bridge when it is made
hairpinMode                false    frames may leave by the port that they came from; excludes promiscMode
promiscMode                false    of the bridge
vlan                       0        the container's VLAN; the gateway is then on `<bridge>.<vlan>`
vlanTrunk                  none     further VLANs, with tags: a list of {id} or {minID, maxID}
preserveDefaultVlan        false    keep the port in VLAN 1 as well
macspoofchk                false    drop frames with another MAC address than the container's
enabledad                  false    wait until no other host answers for the container's IPv6 addresses
disableContainerInterface  false    leave the container's end down; excludes ipam
portIsolation              false    the port reaches only ports that are not isolated
ipam                       none     without it the container gets no address
dns                        IPAM's   in the result

The container's MAC address: capability `mac`, else `args.cni.mac`, else `CNI_ARGS` `MAC`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from typing import Optional

from cni_provision.attach import interface, ipam, options, pair
from cni_provision.attach.interface import addresses, attachment, described
from cni_provision.attach.options import within
from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    INTERNAL,
    INVALID_CONFIG,
    NOT_AVAILABLE,
    CNIError,
    IPInterface,
    Result,
    Route,
)
from cni_provision.net import address, bridge, container, link, record, spoofcheck
from cni_provision.net.bridge import Vlan
from cni_provision.net.container import Pair
from cni_provision.net.link import Link, Settings
from cni_provision.net.record import Attachment
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

CONTAINER = 2  # the index of its interface in the result
LAST_VLAN = 4094
LONGEST_NAME = 15
PORT_SECONDS = 2.5  # the reference's patience with a port
DEFAULT_ROUTES = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
NO_MAC = "00:00:00:00:00:00"  # of a bridge that lost its last port


@dataclass(frozen=True)
class Network:
    """The configuration, checked. `mac` and `mtu` are None where the kernel shall choose; `trunk` is sorted."""

    name: str
    bridge: str
    gateway: bool
    default_gateway: bool
    force_address: bool
    masquerade: str
    mtu: Optional[int]
    mac: Optional[str]
    hairpin: bool
    promiscuous: bool
    vlan: int
    trunk: tuple[int, ...]
    keep_default_vlan: bool
    check_source: bool
    detect_duplicates: bool
    leave_down: bool
    isolated: bool
    ipam: str

    @property
    def vlans(self) -> frozenset[Vlan]:
        """Those of the container's port."""
        native = {Vlan(self.vlan, native=True)} if self.vlan else set()
        return frozenset(native | {Vlan(vid) for vid in self.trunk if vid != self.vlan})

    @property
    def gateway_link(self) -> str:
        return bridge.in_vlan(self.bridge, self.vlan) if self.vlan else self.bridge


def network(call: Call) -> Network:
    config = call.config
    default_gateway = config.boolean("isDefaultGateway")
    found = Network(
        name=config.text("name"),
        bridge=config.text("bridge") or "cni0",
        gateway=config.boolean("isGateway") or default_gateway,
        default_gateway=default_gateway,
        force_address=config.boolean("forceAddress"),
        masquerade=options.masquerades(config),
        mtu=within(config, "mtu", 0, 65535) or None,
        mac=mac(call),
        hairpin=config.boolean("hairpinMode"),
        promiscuous=config.boolean("promiscMode"),
        vlan=within(config, "vlan", 0, LAST_VLAN),
        trunk=tuple(sorted({vid for entry in config.mappings("vlanTrunk") for vid in trunk_range(entry)})),
        keep_default_vlan=config.boolean("preserveDefaultVlan"),
        check_source=config.boolean("macspoofchk"),
        detect_duplicates=config.boolean("enabledad"),
        leave_down=config.boolean("disableContainerInterface"),
        isolated=config.boolean("portIsolation"),
        ipam=ipam.plugin(call),
    )
    check_together(found)
    return found


def check_together(net: Network) -> None:
    if net.hairpin and net.promiscuous:
        raise CNIError(INVALID_CONFIG, "cannot set hairpin mode and promiscuous mode at the same time")
    if net.leave_down and net.ipam:
        raise CNIError(INVALID_CONFIG, "cannot use IPAM when DisableContainerInterface flag is set")
    if net.ipam == "bridge":
        raise CNIError(INVALID_CONFIG, "`ipam.type` must be an IPAM plugin, not `bridge`")
    if net.gateway and len(net.gateway_link) > LONGEST_NAME:
        raise CNIError(INVALID_CONFIG, f"`bridge` `{net.bridge}` is too long for the gateway `{net.gateway_link}`")


def mac(call: Call) -> Optional[str]:
    of_args = call.config.mapping("args").mapping("cni").text("mac")
    return options.mac(options.mac_argument(call), of_args, call.runtime_config.text("mac"))


def trunk_range(entry: Config) -> range:
    vid, first, last = (within(entry, key, 1, LAST_VLAN) for key in ("id", "minID", "maxID"))
    if not (vid or first or last):
        raise CNIError(INVALID_CONFIG, f"`{entry.where}` must have `id`, or `minID` and `maxID`")
    if bool(first) != bool(last):
        absent = "maxID" if first else "minID"
        problem = f"minID and maxID should be configured simultaneously, {absent} is missing"
        raise CNIError(INVALID_CONFIG, f"`{entry.where}`: {problem}")
    if first > last:
        raise entry.error("minID", f"must not be above `maxID`, which is {last}")
    return range(vid, vid + 1) if vid else range(first, last + 1)


def add(call: Call) -> Result:
    net, mine = network(call), attachment(call, "bridge")
    with record.held(mine), Socket() as host, Socket(call.netns_fd) as inside, Undo() as undo:
        before = record.read(mine)
        undo.later(record.restore, mine, before)
        made = ensure_bridge(host, net)
        both = plug(call, net, made, host, inside, undo)
        connect_port(mine, net, host, both.outer)
        planned = with_gateways(net, ipam.lease(call, undo))
        pair.take_off_rules(mine, before or record.NOTHING)  # of an ADD that was killed
        pair.add_rules(mine, both, addresses(planned), net, undo)
        if not net.leave_down:
            interface.configure(call, inside, both.inner, planned, detect_duplicates=net.detect_duplicates)
        if net.ipam and net.gateway:
            ensure_gateway(net, made, host, planned, undo)
        result = whole_result(call, net, host, both, planned)
        undo.keep()
    return result


def ensure_bridge(host: Socket, net: Network) -> Link:
    vlan_filtering = bool(net.vlans)
    return bridge.ensure(host, net.bridge, mtu=net.mtu, promiscuous=net.promiscuous, vlan_filtering=vlan_filtering)


def plug(call: Call, net: Network, made: Link, host: Socket, inside: Socket, undo: Undo) -> Pair:
    """The pair, its host end a port of the bridge."""
    inner = Settings(name=call.ifname, mtu=net.mtu, mac=net.mac, netns_fd=call.netns_fd)
    outer = Settings(mtu=net.mtu, master=made.index)
    return pair.plug(attachment(call, "bridge"), host, inside, inner, outer, undo)


def connect_port(mine: Attachment, net: Network, host: Socket, outer: Link) -> None:
    if net.hairpin or net.isolated:
        bridge.set_port(host, outer, hairpin=net.hairpin, isolated=net.isolated)
    bridge.join(host, outer, net.vlans, keep_default=net.keep_default_vlan)
    pair.ignore_router_advertisements(net.bridge, outer.name)
    link.change(host, outer, Settings(up=True, alias=pair.alias(mine)))


def with_gateways(net: Network, given: Result) -> Result:
    """What IPAM gave, completed: whose the addresses are, gateways, default routes."""
    ips = tuple(
        replace(
            ip, interface=CONTAINER, gateway=ip.gateway or (pair.first_address(ip.address) if net.gateway else None)
        )
        for ip in given.ips
    )
    routes = given.routes
    if net.default_gateway:
        present = {route.dst for route in routes}
        gateways = {DEFAULT_ROUTES[ip.address.version]: ip.gateway for ip in reversed(ips)}
        routes += tuple(Route(dst, gateway) for dst, gateway in reversed(gateways.items()) if dst not in present)
    return replace(given, ips=ips, routes=routes)


def gateway_addresses(result: Result) -> list[IPInterface]:
    """As the bridge has them: with the prefix length of the container's."""
    with_one = ((ip.gateway, ip.address) for ip in result.ips if ip.gateway is not None)
    found = (ip_interface((gateway.packed, own.network.prefixlen)) for gateway, own in with_one)
    return list(dict.fromkeys(found))


def ensure_gateway(net: Network, made: Link, host: Socket, planned: Result, undo: Undo) -> None:
    """The host's side: the gateways' addresses, the MAC address that it had before its first port, forwarding."""
    if made.mac == NO_MAC:
        made = link.get(host, net.bridge)
    target = bridge.ensure_in_vlan(host, made, net.vlan, undo) if net.vlan else made
    wanted = gateway_addresses(planned)
    if address.ensure(host, target, wanted, replace=net.force_address):
        # a bridge follows the lowest MAC address of its ports until it is given one, and then the neighbours lose it
        link.change(host, target, Settings(mac=target.mac))
    pair.forward(wanted)


def await_port(host: Socket, outer: Link) -> None:
    if outer.operstate != link.OPERSTATE_UP:
        port = link.wait_until_operational(host, outer.name, PORT_SECONDS)
        if port.operstate != link.OPERSTATE_UP:
            problem = f"`{port.name}` has operational state {port.operstate}"
            raise CNIError(INTERNAL, f"bridge port in error state: {problem}")


def whole_result(call: Call, net: Network, host: Socket, both: Pair, planned: Result) -> Result:
    """The interfaces as they are now: a bridge's MAC address may have changed with its first port."""
    names = [net.gateway_link] if net.ipam and net.gateway and net.vlan else []
    made, outer, *gateways = link.get_all(host, net.bridge, both.outer.name, *names)
    if not net.leave_down:
        await_port(host, outer)
    interfaces = [described(made), described(outer), described(both.inner, call.netns), *map(described, gateways)]
    dns = interface.dns(call, planned)
    return replace(planned, cni_version=call.version, interfaces=tuple(interfaces), dns=dns)


def delete(call: Call) -> None:
    net, mine = network(call), attachment(call, "bridge")
    pair.delete(call, mine, net)


def check(call: Call) -> None:
    net = network(call)
    pair.check(call, lambda expected, host, inside: differences(call, net, expected, host, inside))


def differences(call: Call, net: Network, expected: Result, host: Socket, inside: Socket) -> Iterator[str]:
    """What is not as ADD left it, as sentences."""
    made = link.find(host, net.bridge)
    yield from container.unlike(made, net.bridge, "bridge", interface.by_name(expected))
    both = yield from pair.ends(call, expected, host, inside)
    if made is None or both is None:
        return
    yield from bridge.port_differences(
        host, made, both.outer, hairpin=net.hairpin, isolated=net.isolated, expected=net.vlans
    )
    if made.promiscuous != net.promiscuous:
        yield f"`{made.name}` is {'' if made.promiscuous else 'not '}promiscuous"
    if net.check_source:
        yield from spoofcheck.missing(attachment(call, "bridge").owner, both.outer.name, both.inner.mac)
    if net.leave_down:
        return
    yield from interface.missing(call, inside, expected)
    if net.gateway:
        yield from container.missing(host, net.gateway_link, gateway_addresses(expected), [])
    yield from pair.not_masqueraded(attachment(call, "bridge"), addresses(expected), net)


def status(call: Call) -> None:
    net = network(call)
    with Socket() as host:
        interface.require_kinds(host, "bridge", "veth")
        found = link.find(host, net.bridge)
    if found and found.kind != "bridge":
        raise CNIError(NOT_AVAILABLE, f'"{net.bridge}" already exists but is not a bridge')
    pair.require_program(net)
    ipam.status(call)


def gc(call: Call) -> None:
    network(call)
    pair.gc(call, "bridge")


PLUGIN = skel.Plugin(
    "bridge", add, delete, check, status, gc, about="CNI bridge plugin: containers on a host's bridge"
)
