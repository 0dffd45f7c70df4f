"""portmap: ports of the node lead to ports of the container (a chained plugin, capability `portMappings`).

The smallest configuration, after the plugin that makes the interface:

    {"type": "portmap", "capabilities": {"portMappings": true}}

key                  default    meaning
snat                 true       containers of the same subnet, and the node by 127.0.0.1, can use the port too
masqAll              false      every client appears with the node's address (needed where answers go another way)
conditionsV4, …V6    none       further matches in nft syntax, which a packet must pass: ["ip saddr 192.0.2.0/24"]
backend              nftables   `iptables` is refused: this build has nftables only
markMasqBit, externalSetMarkChain, conditions in iptables syntax: need the iptables backend, refused likewise

A mapping is `{hostPort, containerPort, protocol, hostIP}`; protocol is tcp (default), udp or sctp; without hostIP
(or with 0.0.0.0, ::) it holds for all of the node's addresses, and a mapping of one address goes before it.
A container reaches itself through the node where br_netfilter is off, or with `hairpinMode` of the bridge.

    table inet cni_portmap
      chain networks                     for what is sent to this node: one jump a network, with its conditions
      chain v4-<network>-<hashes>        marks what has to be masqueraded, then translates by two maps:
      map certain-v4-…                   hostIP . protocol . hostPort : container address . containerPort
      map any-v4-…                       protocol . hostPort : container address . containerPort
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    INVALID_CONFIG,
    NOT_AVAILABLE,
    UNSUPPORTED_FIELD,
    CNIError,
    IPAddress,
    IPInterface,
    Result,
)
from cni_provision.net import conntrack, link, nft, route, rtnl, sysctl

TABLE = "cni_portmap"
MARK = 0x2000  # the bit that the reference plugin uses, too
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
WORD = {4: "ip", 6: "ip6"}
BASE_CHAINS = ("prerouting", "output", "postrouting", "networks")
LONGEST_NAME = 100
IN_USE = 100
NOT_THERE = 101


@dataclass(frozen=True)
class Mapping:
    """`host_ip` None: every address of the node; `version`: the only family for which it is meant."""

    host_port: int
    container_port: int
    protocol: str
    host_ip: IPAddress | None
    version: int | None

    def __str__(self) -> str:
        where = f"[{self.host_ip}]:" if self.host_ip else ""
        return f"{where}{self.host_port}/{self.protocol}"


@dataclass(frozen=True)
class Forwarding:
    """One network's way to map ports to addresses of one family and subnet: one chain and its two maps."""

    network: str
    conditions: str
    snat: bool
    masquerade_all: bool
    container: IPInterface

    @property
    def version(self) -> int:
        return self.container.version

    @property
    def chain(self) -> str:
        rest = digest(f"{self.snat} {self.masquerade_all} {self.container.network}")
        return f"v{self.version}-{label(self.network)}-{digest(self.conditions)}-{rest}"

    def element(self, mapping: Mapping, owner: str) -> nft.Element:
        name, key = slot(mapping)
        data = self.container.ip.packed + port(mapping.container_port)
        return nft.Element(f"{name}-{self.chain}", key, data, owner)


@dataclass(frozen=True)
class Wanted:
    """One element that an attachment is to have, and what it stands for."""

    way: Forwarding
    mapping: Mapping
    element: nft.Element


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def label(network: str) -> str:
    return network if len(network) <= LONGEST_NAME else nft.of_network(network)


def port(number: int) -> bytes:
    return struct.pack("!HH", number, 0)


def slot(mapping: Mapping) -> tuple[str, bytes]:
    """(kind of map, key in it)."""
    key = struct.pack("=B3x", PROTOCOLS[mapping.protocol]) + port(mapping.host_port)
    return ("certain", mapping.host_ip.packed + key) if mapping.host_ip else ("any", key)


def mappings_of(call: Call) -> tuple[Mapping, ...]:
    found = [a_mapping(each) for each in call.runtime_config.mappings("portMappings")]
    unique = tuple(dict.fromkeys(found))
    by_slot = {(slot(each), each.version): each for each in unique}
    for each in unique:
        if by_slot[(slot(each), each.version)] != each:
            raise CNIError(INVALID_CONFIG, f"`portMappings` has host port `{each}` twice")
    return unique


def a_mapping(config: Config) -> Mapping:
    for key, name in (("hostPort", "host"), ("containerPort", "container")):
        if not 0 < config.integer(key) < 65536:
            raise CNIError(INVALID_CONFIG, f"Invalid {name} port number: {config.integer(key)}")
    protocol = config.text("protocol").lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise config.error("protocol", "must be tcp, udp or sctp")
    host_ip = config.parsed("hostIP", ip_address, "an IP address")
    version = host_ip.version if host_ip else None
    certain = None if host_ip is None or host_ip.is_unspecified else host_ip
    return Mapping(config.integer("hostPort"), config.integer("containerPort"), protocol, certain, version)


def check_config(config: Config) -> None:
    """Refuse what this build does not have before anything is done."""
    backend = config.text("backend") or "nftables"
    if backend not in ("nftables", "iptables"):
        raise CNIError(INVALID_CONFIG, f'unrecognized backend "{backend}"')
    needs_iptables = [f"`backend` `{backend}`"] if backend == "iptables" else []
    needs_iptables += [f"`{key}`" for key in ("markMasqBit", "externalSetMarkChain") if key in config]
    for key in ("conditionsV4", "conditionsV6"):
        conditions = config.texts(key)
        needs_iptables += [f"iptables syntax in `{key}`" for each in conditions[:1] if each.startswith(("-", "!"))]
        if any(sign in each for each in conditions for sign in "\n;"):
            raise config.error(key, "must be matches of one nft rule")
    if needs_iptables:
        problem = f"this build has the nftables backend only, and {', '.join(needs_iptables)} needs iptables"
        raise CNIError(UNSUPPORTED_FIELD, problem)


def chained(call: Call) -> Result:
    if call.prev_result is None:
        raise CNIError(INVALID_CONFIG, "must be called as chained plugin: `prevResult` is missing")
    return call.prev_result


def container_addresses(result: Result, ifname: str) -> tuple[IPInterface, ...]:
    """The first address of each family on the container's own interface."""
    first: dict[int, IPInterface] = {}
    for each in result.ips:
        named = result.interfaces[each.interface : each.interface + 1] if each.interface is not None else ()
        if all(interface.name == ifname and interface.sandbox for interface in named):
            first.setdefault(each.address.version, each.address)
    return tuple(first.values())


def ways(config: Config, addresses: Sequence[IPInterface]) -> tuple[Forwarding, ...]:
    return tuple(
        Forwarding(
            network=config.text("name"),
            conditions=" ".join(config.texts(f"conditionsV{address.version}")),
            snat=config.boolean("snat", True),
            masquerade_all=config.boolean("masqAll"),
            container=address,
        )
        for address in addresses
    )


def wanted_by(call: Call) -> list[Wanted]:
    """What this attachment is to have: each mapping once for each family that it is meant for."""
    mappings, owner = mappings_of(call), owner_of(call)
    addresses = container_addresses(chained(call), call.ifname)
    if mappings and not addresses:
        raise CNIError(INVALID_CONFIG, f"`prevResult` has no address of `{call.ifname}` to map ports to")
    return [
        Wanted(way, mapping, way.element(mapping, owner))
        for way in ways(call.config, addresses)
        for mapping in mappings
        if mapping.version in (None, way.version)
    ]


def owner_of(call: Call) -> str:
    return nft.owner(call.config.text("name"), call.container_id, call.ifname)


def base_script() -> str:
    """What all networks share; running it again changes nothing."""
    to_here = "fib daddr type local jump networks"
    return f"""
        add table inet {TABLE}
        add chain inet {TABLE} networks
        add chain inet {TABLE} prerouting {{ type nat hook prerouting priority dstnat; }}
        add chain inet {TABLE} output {{ type nat hook output priority -100; }}
        add chain inet {TABLE} postrouting {{ type nat hook postrouting priority srcnat; }}
        flush chain inet {TABLE} prerouting
        flush chain inet {TABLE} output
        flush chain inet {TABLE} postrouting
        add rule inet {TABLE} prerouting {to_here}
        add rule inet {TABLE} output {to_here}
        add rule inet {TABLE} postrouting meta mark & {MARK} == {MARK} masquerade
    """


def chain_script(way: Forwarding) -> str:
    """One network's chain and maps; the jump is made with the chain, so the chain must be new."""
    word, kind = WORD[way.version], "ipv4_addr" if way.version == 4 else "ipv6_addr"
    key, found = "meta l4proto . th dport", f"{kind} . inet_service"
    rule = f"add rule inet {TABLE} {way.chain} meta l4proto {{ tcp, udp, sctp }}"
    near = f"{word} saddr {{ {way.container.network}{', 127.0.0.0/8' if way.version == 4 else ''} }}"
    marked = "" if way.masquerade_all else near
    marking = f"{rule} {marked} meta mark set meta mark | {MARK}" if way.snat else ""
    # what no map knows goes on as it came
    unmarking = f"{rule} {marked} meta mark set meta mark & {0xFFFFFFFF - MARK}" if way.snat else ""
    return f"""
        add map inet {TABLE} certain-{way.chain} {{ type {kind} . inet_proto . inet_service : {found}; }}
        add map inet {TABLE} any-{way.chain} {{ type inet_proto . inet_service : {found}; }}
        create chain inet {TABLE} {way.chain}
        {marking}
        {rule} dnat {word} to {word} daddr . {key} map @certain-{way.chain}
        {rule} dnat {word} to {key} map @any-{way.chain}
        {unmarking}
        add rule inet {TABLE} networks meta nfproto ipv{way.version} {way.conditions} jump {way.chain}
    """


def ensure_chains(table: nft.Table, ways: Sequence[Forwarding]) -> None:
    present = table.chains()
    missing = {way.chain: way for way in ways if way.chain not in present}
    if not missing:
        return
    try:
        nft.run(base_script() + "".join(chain_script(way) for way in missing.values()))
    except nft.NftError as error:
        conditions = [way.conditions for way in missing.values() if way.conditions]
        if not conditions:
            raise
        problem = f"nft refuses the conditions `{'`, `'.join(conditions)}`"
        raise CNIError(INVALID_CONFIG, problem, error.strerror or "") from error


def rivals(table: nft.Table, names: Sequence[str], wanted: Wanted) -> Iterator[nft.Element]:
    """Elements of others for the same packets: the same key, under the same conditions, in any network."""
    kind, key, owner = wanted.element.set.partition("-")[0], wanted.element.key, wanted.element.owner
    start, conditions = f"{kind}-v{wanted.way.version}-", digest(wanted.way.conditions)
    for name in names:
        if name.startswith(start) and name.split("-")[-2] == conditions:
            found = table.get(name, key)
            if found and found.owner != owner:
                yield found


def maps_of(table: nft.Table, network: str) -> tuple[str, ...]:
    """The maps of every way in which this network has mapped ports, also under earlier configurations."""
    return tuple(name for name in table.sets() if name.split("-", 2)[2].rsplit("-", 2)[0] == label(network))


def may_hold(name: str, mapping: Mapping) -> bool:
    kind, version, _ = name.split("-", 2)
    return kind == slot(mapping)[0] and (mapping.version is None or version == f"v{mapping.version}")


def target(element: nft.Element) -> IPAddress:
    assert isinstance(element.data, bytes)
    return ip_address(element.data[:-4])


def claim(table: nft.Table, wanted: Sequence[Wanted]) -> None:
    """All ports or none. CNIError where another attachment has one of them."""
    with nft.lock():
        names = table.sets()
        for each in wanted:
            for rival in rivals(table, names, each):
                problem = f"host port `{each.mapping}` is in use by the container with address {target(rival)}"
                raise CNIError(IN_USE, problem)
        ensure_chains(table, [each.way for each in wanted])
        table.add([each.element for each in wanted])


def route_localnet(container: IPAddress) -> None:
    """Let packets from 127.0.0.1 leave by the interface behind which the container is, if there is one.

    Never by the interface of a gateway: its neighbours could reach what listens on 127.0.0.1 here.
    """
    question = route.MESSAGE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    question += rtnl.attribute(route.RTA_DST, container.packed)
    with rtnl.Socket() as kernel, suppress(rtnl.NetlinkError):
        answer = kernel.request(rtnl.RTM_GETROUTE, question, f"find the way to {container}")
        way = route.decode(answer[0])
        if way.gateway is None:
            sysctl.write(f"net/ipv4/conf/{link.by_index(kernel, way.index).name}/route_localnet", "1")


def forget_flows(element: nft.Element, *, to_container: bool) -> None:
    """UDP goes on as it began: flows to this element's host port, to its container or to anybody else, end here."""
    protocol, number = struct.unpack("!B3xH2x", element.key[-8:])
    host, container = element.key[:-8], target(element)

    def stale(flow: conntrack.Flow) -> bool:
        return (flow.answered_by == container) is to_container and host in (b"", flow.destination.packed)

    if protocol == conntrack.UDP:
        conntrack.forget(container.version, number, stale)


def add(call: Call) -> Result:
    check_config(call.config)
    previous, wanted = chained(call), wanted_by(call)
    if not wanted:
        return previous
    keys = [(each.element.set, each.element.key) for each in wanted]
    with nft.table(TABLE) as table, ExitStack() as undo:
        table.remove(keys, {owner_of(call)})  # left by an ADD that was killed
        claim(table, wanted)
        undo.callback(table.remove, keys, {owner_of(call)})
        for each in wanted:
            address = each.way.container.ip
            if each.way.snat and address.version == 4:
                route_localnet(address)
            forget_flows(each.element, to_container=False)
        undo.pop_all()
    return previous


def delete(call: Call) -> None:
    """Also without `prevResult`: the ports say where to look, the owner says what is ours."""
    mappings = mappings_of(call)
    if not mappings:
        return
    with nft.table(TABLE) as table:
        names = maps_of(table, call.config.text("name"))
        keys = [(name, slot(each)[1]) for name in names for each in mappings if may_hold(name, each)]
        removed = table.remove(keys, {owner_of(call)})
    for element in removed:
        forget_flows(element, to_container=True)


def check(call: Call) -> None:
    check_config(call.config)
    wanted = wanted_by(call)
    with nft.table(TABLE) as table:
        lost = [
            f"host port `{each.mapping}` does not lead to {each.way.container.ip}"
            for each in wanted
            if table.get(each.element.set, each.element.key) != each.element
        ]
        chains = sorted({each.way.chain for each in wanted})
        lost += [f"chain `{TABLE} {name}` has no rules" for name in table.unruly([*BASE_CHAINS, *chains]) if wanted]
    if lost:
        raise CNIError(NOT_THERE, f"port mappings are not as they were made: {'; '.join(lost)}")


def status(call: Call) -> None:
    """nft is installed, and the kernel would take our rules with the conditions of this network."""
    check_config(call.config)
    examples = (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))
    scripts = [chain_script(each) for each in ways(call.config, examples)]
    try:
        nft.run(base_script() + "".join(scripts), dry=True)
    except nft.NftError as error:
        raise CNIError(NOT_AVAILABLE, f"cannot map ports: {error.strerror}") from error


def gc(call: Call) -> None:
    network = call.config.text("name")
    valid = {nft.owner(network, *each) for each in call.valid_attachments}
    with nft.table(TABLE) as table:
        found = [element for name in maps_of(table, network) for element in table.dump(name)]
        stale = {each.owner for each in found} - valid
        table.remove([(each.set, each.key) for each in found if each.owner in stale], stale)
        table.delete_if_empty()


PLUGIN = skel.Plugin("portmap", add, delete, check, status, gc, about="CNI portmap plugin (cni-provision)")

if __name__ == "__main__":
    skel.main(PLUGIN)
