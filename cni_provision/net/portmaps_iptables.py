"""Ports of the node that lead to ports of containers in iptables, with the reference's chains and rules.

PREROUTING, OUTPUT      what is sent to this node → CNI-HOSTPORT-DNAT
CNI-HOSTPORT-DNAT       by protocol and at most 15 ports a rule, under the network's conditions → CNI-DN-<hash>
CNI-DN-<hash>           one container's: marks what has to be masqueraded, then translates
CNI-HOSTPORT-SETMARK    sets the mark; CNI-HOSTPORT-MASQ, the first of POSTROUTING, masquerades what has it
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cni_provision.net import iptables, reference
from cni_provision.net.iptables import Draft, leads_to, quoted
from cni_provision.net.portmaps import Interface, InUse, Mapping

TABLE = "nat"
TOP, SET_MARK, MASQUERADE = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
OLD_TOP = "CNI-HOSTPORT-SNAT"  # of old versions of the reference
PREFIX = "CNI-DN-"
CHAIN_DIGITS = 21  # of a name of 28 letters
TO_HERE = f"-m addrtype --dst-type LOCAL -j {TOP}"
TO_MASQUERADE = f"-m comment {quoted('CNI portfwd requiring masquerade')} -j {MASQUERADE}"
PORTS_PER_RULE = 15
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
UNCONDITIONAL = ("-p", "-m", "--comment", "--dports", "-j")


@dataclass(frozen=True)
class Way:
    """One attachment's way to map ports to one address of a container. `conditions`: words of iptables' own."""

    network: str
    container_id: str
    chain: str
    container: Interface
    mappings: tuple[Mapping, ...]
    conditions: tuple[str, ...] = ()
    snat: bool = True
    masquerade_all: bool = False
    mark_bit: int = 13
    mark_chain: str = ""

    @property
    def version(self) -> int:
        return self.container.version

    def plan(self, draft: Draft) -> None:
        _ensure(draft, self)

    @property
    def own(self) -> list[Mapping]:
        return [one for one in self.mappings if one.version in (None, self.version)]


def chain_of(network: str, container_id: str, ifname: str = "") -> str:
    """The reference's, which a container's interfaces in a network would share; with `ifname` one of its own."""
    return PREFIX + reference.digest(network + container_id + ifname, CHAIN_DIGITS)


def ensure(ways: Sequence[Way]) -> None:
    """All ports or none. `InUse` where another container has one of them."""
    for way in ways:
        iptables.change(way.version, TABLE, way.plan)


def refuse_rivals(ways: Sequence[Way]) -> None:
    """`InUse` where one of the ports is mapped by iptables, for those who map it by other means."""
    for way in ways:
        if iptables.may_have(way.version, TABLE, [TOP]) and iptables.available(way.version):
            _refuse_rivals(Draft(TABLE, iptables.listing(way.version, TABLE)), way)


def _refuse_rivals(draft: Draft, way: Way) -> None:
    for mapping in way.own:
        rival = next(rivals(draft, way, mapping), "")
        if rival:
            raise InUse(errno.EADDRINUSE, f"host port `{mapping}` is in use: {rival}")


def _ensure(draft: Draft, way: Way) -> None:
    _refuse_rivals(draft, way)
    mark = f"{1 << way.mark_bit:#x}/{1 << way.mark_bit:#x}"
    if way.snat and not way.mark_chain:
        draft.ensure(SET_MARK, f"-m comment {quoted('CNI portfwd masquerade mark')} -j MARK --set-xmark {mark}")
        draft.ensure(MASQUERADE, f"-m mark --mark {mark} -j MASQUERADE")
        draft.ensure("POSTROUTING", TO_MASQUERADE, first=True)
    draft.chain(TOP)
    for entry in ("PREROUTING", "OUTPUT"):
        draft.ensure(entry, TO_HERE)
    draft.remove(TOP, leads_to(way.chain))  # of an ADD that was killed
    draft.fill(way.chain, rules(way))
    for rule in entries(way):
        draft.ensure(TOP, rule)


def entries(way: Way) -> Iterator[str]:
    """The rules that lead to a container's chain."""
    comment = quoted(f'dnat name: "{way.network}" id: "{way.container_id}"')
    by_protocol: dict[str, list[str]] = {}
    for mapping in way.mappings:
        by_protocol.setdefault(mapping.protocol, []).append(str(mapping.host_port))
    for protocol in sorted(by_protocol):
        ports = by_protocol[protocol]
        for start in range(0, len(ports), PORTS_PER_RULE):
            some = ",".join(ports[start : start + PORTS_PER_RULE])
            words = ["-p", protocol, "-m comment", comment, "-m multiport --dports", some, *way.conditions]
            yield f"{' '.join(words)} -j {way.chain}"


def rules(way: Way) -> list[str]:
    """A container's chain: for each port two marks and the translation."""
    found = []
    for mapping in way.own:
        to_port = f"-p {mapping.protocol} -m {mapping.protocol} --dport {mapping.host_port}"
        to_host = f"-d {mapping.host_ip}/{mapping.host_ip.max_prefixlen} {to_port}" if mapping.host_ip else to_port
        found += [f"{source}{to_host} -j {way.mark_chain or SET_MARK}" for source in marked(way)]
        target = f"[{way.container.ip}]" if way.version == 6 else str(way.container.ip)
        found.append(f"{to_host} -j DNAT --to-destination {target}:{mapping.container_port}")
    return found


def marked(way: Way) -> list[str]:
    """From where a packet has to be masqueraded."""
    if not way.snat:
        return []
    if way.masquerade_all:
        return [""]
    return [f"-s {way.container.network} "] + ["-s 127.0.0.1/32 "] * (way.version == 4)


def rivals(draft: Draft, way: Way, mapping: Mapping) -> Iterator[str]:
    """What leads elsewhere with the same packets, as far as neither has conditions."""
    to_port = f"-p {mapping.protocol} -m {mapping.protocol} --dport {mapping.host_port} -j DNAT --to-destination "
    wanted = f"-d {mapping.host_ip}/{mapping.host_ip.max_prefixlen} {to_port}" if mapping.host_ip else to_port
    if way.conditions:
        return
    for chain, there in draft.chains.items():
        if chain.startswith(PREFIX) and chain != way.chain:
            found = next((rule for rule in there if rule.startswith(wanted)), "")
            if found and any(unconditional(rule, chain) for rule in draft.chains.get(TOP, ())):
                yield f"chain {chain} leads to {found.rpartition(' ')[2]}"


def unconditional(entry: str, chain: str) -> bool:
    if not leads_to(chain)(entry):
        return False
    return all(word in UNCONDITIONAL for word in iptables.bare(entry).split() if word.startswith(("-", "!")))


def remove(chain: str) -> None:
    """Take off a container's chain, and what old versions of the reference had beside it."""
    old = chain.replace(PREFIX, "CNI-SN-")
    for version in iptables.NAMES:
        if iptables.may_have(version, TABLE, [chain, old]) and iptables.available(version):

            def plan(draft: Draft) -> None:
                draft.drop(chain, TOP)
                draft.drop(old, OLD_TOP)

            iptables.change(version, TABLE, plan)


def missing(ways: Sequence[Way]) -> list[str]:
    """What is not as `ensure` left it, as sentences."""
    wrong = []
    for way in ways:
        there = iptables.listing(way.version, TABLE)
        for entry in ("PREROUTING", "OUTPUT"):
            wrong += [f"{entry} does not lead to {TOP}"] if TO_HERE not in there.get(entry, ()) else []
        led = sum(map(leads_to(way.chain), there.get(TOP, ())))
        if led != len(list(entries(way))):
            wrong.append(f"{TOP} has {led} rules that lead to {way.chain}, not {len(list(entries(way)))}")
        present = there.get(way.chain, ())
        wrong += [f"{way.chain} has no rule `{rule}`" for rule in rules(way) if rule not in present]
    return wrong
