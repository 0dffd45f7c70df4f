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
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface

from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    INVALID_CONFIG,
    NOT_AVAILABLE,
    UNSUPPORTED_FIELD,
    CNIError,
    IPInterface,
    Result,
)
from cni_provision.net import nft, portmaps, record
from cni_provision.net.portmaps import PROTOCOLS, Forwarding, Mapping, Wanted, slot
from cni_provision.net.record import Attachment, Made

IN_USE = 100
NOT_THERE = 101


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
    mappings, owner = mappings_of(call), attachment(call).owner
    addresses = container_addresses(chained(call), call.ifname)
    if mappings and not addresses:
        raise CNIError(INVALID_CONFIG, f"`prevResult` has no address of `{call.ifname}` to map ports to")
    return [
        Wanted(way, mapping, way.element(mapping, owner))
        for way in ways(call.config, addresses)
        for mapping in mappings
        if mapping.version in (None, way.version)
    ]


def attachment(call: Call) -> Attachment:
    return Attachment("portmap", call.config.text("name"), call.container_id, call.ifname)


def add(call: Call) -> Result:
    check_config(call.config)
    previous, wanted, mine = chained(call), wanted_by(call), attachment(call)
    if not wanted:
        return previous
    with record.held(mine), nft.table(portmaps.TABLE) as table, ExitStack() as undo:
        table.remove(keys(wanted) + keys(noted(mine)), {mine.owner})  # left by an ADD that was killed
        undo.callback(record.remove, mine)
        record.write(mine, Made(rules={"portmap": portmaps.noted(wanted)}))
        undo.callback(table.remove, keys(wanted), {mine.owner})
        claim(table, wanted)
        for each in wanted:
            if each.way.snat and each.way.version == 4:
                portmaps.route_localnet(each.way.container.ip)
            portmaps.forget_flows(each.element, to_container=False)
        undo.pop_all()
    return previous


def keys(wanted: Sequence[Wanted]) -> list[portmaps.Key]:
    return [(each.element.set, each.element.key) for each in wanted]


def noted(mine: Attachment) -> list[Wanted]:
    """What an earlier ADD has noted."""
    made = record.read(mine) or record.NOTHING
    return portmaps.of_note(mine.network, mine.owner, made.rules.get("portmap"))


def claim(table: nft.Table, wanted: Sequence[Wanted]) -> None:
    try:
        portmaps.claim(table, wanted)
    except portmaps.InUse as error:
        raise CNIError(IN_USE, str(error)) from error
    except nft.NftError as error:
        conditions = sorted({each.way.conditions for each in wanted if each.way.conditions})
        if not conditions:
            raise
        problem = f"nft refuses the conditions `{'`, `'.join(conditions)}`"
        raise CNIError(INVALID_CONFIG, problem, error.strerror or "") from error


def delete(call: Call) -> None:
    """Also without `prevResult`: the record says what there is, else the ports where to look for what is ours."""
    mappings, mine = mappings_of(call), attachment(call)
    with record.held(mine):
        known = noted(mine)
        if not (known or mappings):
            return
        with nft.table(portmaps.TABLE) as table:
            removed = table.remove(keys(known) or portmaps.keys_of(table, mine.network, mappings), {mine.owner})
        for element in removed:
            portmaps.forget_flows(element, to_container=True)
        record.remove(mine)


def check(call: Call) -> None:
    check_config(call.config)
    with nft.table(portmaps.TABLE) as table:
        lost = portmaps.lost(table, wanted_by(call))
    if lost:
        raise CNIError(NOT_THERE, f"port mappings are not as they were made: {'; '.join(lost)}")


def status(call: Call) -> None:
    """nft is installed, and the kernel would take our rules with the conditions of this network."""
    check_config(call.config)
    examples = (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))
    scripts = [portmaps.chain_script(each) for each in ways(call.config, examples)]
    try:
        nft.run(portmaps.base_script() + "".join(scripts), dry=True)
    except nft.NftError as error:
        raise CNIError(NOT_AVAILABLE, f"cannot map ports: {error.strerror}") from error


def gc(call: Call) -> None:
    network = call.config.text("name")
    valid = {nft.owner(network, *each) for each in call.valid_attachments}
    portmaps.gc(network, valid)
    record.gc("portmap", network, valid)


PLUGIN = skel.Plugin("portmap", add, delete, check, status, gc, about="CNI portmap plugin (cni-provision)")

if __name__ == "__main__":
    skel.main(PLUGIN)
