"""Ports of the node that lead to ports of containers, for the portmap plugin.

    table inet cni_portmap
      chain networks                     for what is sent to this node: one jump a network, with its conditions
      chain v4-<network>-<hashes>        marks what has to be masqueraded, then translates by two maps:
      map certain-v4-…                   hostIP . protocol . hostPort : container address . containerPort
      map any-v4-…                       protocol . hostPort : container address . containerPort

An element's comment is its attachment. A packet costs two look-ups however many ports are mapped; rules grow with
networks, their conditions and subnets only.
"""

from __future__ import annotations

import _socket as socket
import errno
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any, Optional, Union

from cni_provision.cni.digest import sha256
from cni_provision.net import conntrack, link, nft, route, rtnl, sysctl
from cni_provision.net.errors import NetError

TABLE = "cni_portmap"
MARK = 0x2000  # the bit that the reference plugin uses, too
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
WORD = {4: "ip", 6: "ip6"}
BASE_CHAINS = ("prerouting", "output", "postrouting", "networks")
LONGEST_NAME = 100

Address = Union[IPv4Address, IPv6Address]
Interface = Union[IPv4Interface, IPv6Interface]
Key = tuple[str, bytes]  # (set, key) of an element


class InUse(NetError):
    """A port belongs to another attachment (`EADDRINUSE`)."""


@dataclass(frozen=True)
class Mapping:
    """`host_ip` None: every address of the node; `version`: the only family for which it is meant."""

    host_port: int
    container_port: int
    protocol: str
    host_ip: Optional[Address]
    version: Optional[int]

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
    container: Interface

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
    return sha256(text.encode())[:8]


def label(network: str) -> str:
    return network if len(network) <= LONGEST_NAME else nft.of_network(network)


def port(number: int) -> bytes:
    return struct.pack("!HH", number, 0)


def slot(mapping: Mapping) -> tuple[str, bytes]:
    """(kind of map, key in it)."""
    key = struct.pack("=B3x", PROTOCOLS[mapping.protocol]) + port(mapping.host_port)
    return ("certain", mapping.host_ip.packed + key) if mapping.host_ip else ("any", key)


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
    return f"""{maps_script(way)}
        create chain inet {TABLE} {way.chain}
        {rules_script(way)}
        {jump_script(way)}
    """


def maps_script(way: Forwarding) -> str:
    kind = "ipv4_addr" if way.version == 4 else "ipv6_addr"
    found = f"{kind} . inet_service"
    return f"""
        add map inet {TABLE} certain-{way.chain} {{ type {kind} . inet_proto . inet_service : {found}; }}
        add map inet {TABLE} any-{way.chain} {{ type inet_proto . inet_service : {found}; }}
    """


def rules_script(way: Forwarding) -> str:
    word, key = WORD[way.version], "meta l4proto . th dport"
    rule = f"add rule inet {TABLE} {way.chain} meta l4proto {{ tcp, udp, sctp }}"
    near = f"{word} saddr {{ {way.container.network}{', 127.0.0.0/8' if way.version == 4 else ''} }}"
    marked = "" if way.masquerade_all else near
    marking = f"{rule} {marked} meta mark set meta mark | {MARK}" if way.snat else ""
    # what no map knows goes on as it came
    unmarking = f"{rule} {marked} meta mark set meta mark & {0xFFFFFFFF - MARK}" if way.snat else ""
    return f"""
        {marking}
        {rule} dnat {word} to {word} daddr . {key} map @certain-{way.chain}
        {rule} dnat {word} to {key} map @any-{way.chain}
        {unmarking}
    """


def jump_script(way: Forwarding) -> str:
    return f"add rule inet {TABLE} networks meta nfproto ipv{way.version} {way.conditions} jump {way.chain}\n"


def ensure_chains(table: nft.Table, ways: Sequence[Forwarding]) -> None:
    """`nft.NftError` where nft refuses the conditions of one."""
    present = table.chains()
    missing = {way.chain: way for way in ways if way.chain not in present}
    if missing:
        nft.run(base_script() + "".join(map(chain_script, missing.values())))


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


def keys_of(table: nft.Table, network: str, mappings: Sequence[Mapping]) -> list[Key]:
    """Where the elements of `mappings` may be, in whatever way and to whatever address they were made."""
    return [(name, slot(each)[1]) for name in maps_of(table, network) for each in mappings if may_hold(name, each)]


def may_hold(name: str, mapping: Mapping) -> bool:
    kind, version, _ = name.split("-", 2)
    return kind == slot(mapping)[0] and (mapping.version is None or version == f"v{mapping.version}")


def target(element: nft.Element) -> Address:
    assert isinstance(element.data, bytes)
    return ip_address(element.data[:-4])


def claim(table: nft.Table, wanted: Sequence[Wanted]) -> None:
    """All ports or none. `InUse` where another attachment has one of them."""
    with nft.lock():
        refuse_rivals(table, wanted)
        ensure_chains(table, [each.way for each in wanted])
        table.add([each.element for each in wanted])


def refuse_rivals(table: nft.Table, wanted: Sequence[Wanted]) -> None:
    names = table.sets()
    for each in wanted:
        for rival in rivals(table, names, each):
            problem = f"host port `{each.mapping}` is in use by the container with address {target(rival)}"
            raise InUse(errno.EADDRINUSE, problem)


def lost(table: nft.Table, wanted: Sequence[Wanted]) -> list[str]:
    """What is not as `claim` left it, as sentences."""
    wrong = [
        f"host port `{each.mapping}` does not lead to {each.way.container.ip}"
        for each in wanted
        if table.get(each.element.set, each.element.key) != each.element
    ]
    chains = sorted({each.way.chain for each in wanted})
    unruly = table.unruly([*BASE_CHAINS, *chains]) if wanted else ()
    return wrong + [f"chain `{TABLE} {name}` has no rules" for name in unruly]


def gc(network: str, valid: Collection[str]) -> None:
    """Remove what belongs to attachments of `network` whose owner is not in `valid`."""
    with nft.table(TABLE) as table:
        found = [element for name in maps_of(table, network) for element in table.dump(name)]
        stale = {each.owner for each in found} - set(valid)
        table.remove([(each.set, each.key) for each in found if each.owner in stale], stale)
        table.delete_if_empty()


def noted(wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """What `cni_provision.net.record` keeps."""
    return [
        {
            "conditions": each.way.conditions,
            "snat": each.way.snat,
            "masqAll": each.way.masquerade_all,
            "container": str(each.way.container),
            "hostPort": each.mapping.host_port,
            "containerPort": each.mapping.container_port,
            "protocol": each.mapping.protocol,
            "hostIP": str(each.mapping.host_ip or ""),
        }
        for each in wanted
    ]


def of_note(network: str, owner: str, note: object) -> list[Wanted]:
    """What a record names; nothing where it is not as `noted` made it."""
    try:
        return [_of_entry(network, owner, entry) for entry in note] if isinstance(note, list) else []
    except (ValueError, KeyError, TypeError, struct.error):
        return []


def _of_entry(network: str, owner: str, entry: dict[str, Any]) -> Wanted:
    conditions, container = str(entry["conditions"]), ip_interface(entry["container"])
    if any(sign in conditions for sign in "\n;"):
        raise ValueError("not the matches of one rule")
    way = Forwarding(network, conditions, entry["snat"] is True, entry["masqAll"] is True, container)
    host_ip = ip_address(entry["hostIP"]) if entry["hostIP"] else None
    mapping = Mapping(entry["hostPort"], entry["containerPort"], entry["protocol"], host_ip, way.version)
    return Wanted(way, mapping, way.element(mapping, owner))


def rebuild(wanted: Sequence[Wanted]) -> nft.Rebuilt:
    """Make again what somebody took off."""
    found = {each.way.chain: each.way for each in wanted}
    with nft.table(TABLE) as table:
        script = base_script() + "".join(_again(table, way) for way in found.values())
        return nft.rebuild(table, script, [*BASE_CHAINS, *found] if found else [], [each.element for each in wanted])


def _again(table: nft.Table, way: Forwarding) -> str:
    """As `chain_script`, for a chain that may be there, with a jump to it or without."""
    jumps = nft.run(f"list chain inet {TABLE} networks\n") if "networks" in table.chains() else ""
    jump = "" if f"jump {way.chain} " in jumps else jump_script(way)
    remade = f"add chain inet {TABLE} {way.chain}\nflush chain inet {TABLE} {way.chain}\n"
    return maps_script(way) + remade + rules_script(way) + jump


def route_localnet(container: Address) -> None:
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
