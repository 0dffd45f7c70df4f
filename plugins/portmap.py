"""portmap: ports of the node lead to ports of the container (a chained plugin, capability `portMappings`).

The smallest configuration, after the plugin that makes the interface:

    {"type": "portmap", "capabilities": {"portMappings": true}}

key                  default    meaning
snat                 true       containers of the same subnet, and the node by 127.0.0.1, can use the port too
masqAll              false      every client appears with the node's address (needed where answers go another way)
conditionsV4, …V6    none       further matches in nft syntax, which a packet must pass: ["ip saddr 192.0.2.0/24"]
backend              chosen     nftables; iptables where an option below or conditions in its syntax ask for it
markMasqBit          13         iptables: the bit of the mark for what is masqueraded
externalSetMarkChain none       iptables: somebody else's chain that marks, and masquerades by that mark

A mapping is `{hostPort, containerPort, protocol, hostIP}`; protocol is tcp (default), udp or sctp; without hostIP
(or with 0.0.0.0, ::) it holds for all of the node's addresses, and a mapping of one address goes before it.
A container reaches itself through the node where br_netfilter is off, or with `hairpinMode` of the bridge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface

from cni_provision.attach.chain import previous
from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    INVALID_CONFIG,
    NOT_AVAILABLE,
    TRY_AGAIN_LATER,
    CNIError,
    IPInterface,
    Result,
)
from cni_provision.net import iptables, listeners, nft, portmaps, portmaps_iptables, record, reference
from cni_provision.net.portmaps import PROTOCOLS, Forwarding, Mapping, Wanted, slot
from cni_provision.net.portmaps_iptables import Way
from cni_provision.net.record import Attachment, Made
from cni_provision.net.undo import Undo

NFTABLES, IPTABLES = "nftables", "iptables"
BY_IPTABLES = "portmap by iptables"  # under this a record has what that backend made
HOLDERS = ("conmon", "podman", "rootlessport")  # they listen only to keep a port for what is mapped here
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


def backend(config: Config) -> str:
    """`nftables` or `iptables`: what is named, else what the options ask for, else nftables where it is installed."""
    named = config.text("backend")
    if named not in ("", NFTABLES, IPTABLES):
        raise CNIError(INVALID_CONFIG, f'unrecognized backend "{named}"')
    options = options_of(config)
    chosen = named or (IPTABLES if options[IPTABLES] or not nft.program() else NFTABLES)
    other = NFTABLES if chosen == IPTABLES else IPTABLES
    if options[other]:
        problem = (
            f"{chosen} backend was requested but configuration contains {other}-specific options {options[other]}"
        )
        raise CNIError(INVALID_CONFIG, problem)
    return chosen


def options_of(config: Config) -> dict[str, list[str]]:
    """The options that only one of the backends has, checked."""
    found: dict[str, list[str]] = {NFTABLES: [], IPTABLES: []}
    for key in ("conditionsV4", "conditionsV6"):
        conditions = config.texts(key)
        for each in conditions[:1]:
            found[IPTABLES if each.startswith(("-", "!")) else NFTABLES].append(key)
        if any(sign in each for each in conditions for sign in "\n;"):
            raise config.error(key, "must be matches of one rule")
    found[IPTABLES] += [key for key in ("markMasqBit", "externalSetMarkChain") if key in config]
    if "markMasqBit" in config and "externalSetMarkChain" in config:
        raise CNIError(INVALID_CONFIG, "Cannot specify externalSetMarkChain and markMasqBit")
    if not 0 <= config.integer("markMasqBit") < 32:
        raise config.error("markMasqBit", "must be between 0 and 31")
    if any(each.isspace() for each in config.text("externalSetMarkChain")):
        raise config.error("externalSetMarkChain", "must be the name of a chain")
    return found


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
    addresses = container_addresses(previous(call), call.ifname)
    if mappings and not addresses:
        raise CNIError(INVALID_CONFIG, f"`prevResult` has no address of `{call.ifname}` to map ports to")
    return [
        Wanted(way, mapping, way.element(mapping, owner))
        for way in ways(call.config, addresses)
        for mapping in mappings
        if mapping.version in (None, way.version)
    ]


def attachment(call: Call) -> Attachment:
    return Attachment("portmap", call.config.text("name"), call.container_id, call.ifname, call.added, call.undoes)


def add(call: Call) -> Result:
    chosen = backend(call.config)
    before, wanted, mine = previous(call), wanted_by(call), attachment(call)
    if not wanted:
        return before
    refuse_listeners(mine, wanted)
    if chosen == IPTABLES:
        add_by_iptables(call, wanted)
        return before
    with record.held(mine), nft.table(portmaps.TABLE) as table, ExitStack() as undo:
        table.remove(keys(wanted) + keys(noted(mine)), {mine.owner})  # left by an ADD that was killed
        remove_chain(mine)
        in_use(portmaps_iptables.refuse_rivals, ways_of_iptables(call, ""))
        undo.callback(record.remove, mine)
        record.write(mine, Made(rules={"portmap": portmaps.noted(wanted)}))
        undo.callback(table.remove, keys(wanted), {mine.owner})
        claim(table, wanted)
        for each in wanted:
            if each.way.snat and each.way.version == 4:
                portmaps.route_localnet(each.way.container.ip)
            portmaps.forget_flows(each.element, to_container=False)
        undo.pop_all()
    return before


def add_by_iptables(call: Call, wanted: Sequence[Wanted]) -> None:
    mine = attachment(call)
    with record.held(mine), Undo() as undo:
        with nft.table(portmaps.TABLE) as table:
            table.remove(keys(wanted) + keys(noted(mine)), {mine.owner})  # of an ADD that was killed
            in_use(portmaps.refuse_rivals, table, wanted)
        ways = ways_of_iptables(call, chain_for(mine))
        undo.later(record.remove, mine)
        record.write(mine, Made(rules={BY_IPTABLES: {"chain": ways[0].chain, "ports": portmaps.noted(wanted)}}))
        undo.later(portmaps_iptables.remove, ways[0].chain)
        in_use(portmaps_iptables.ensure, ways)
        for each in wanted:
            if each.way.snat and each.way.version == 4:
                portmaps.route_localnet(each.way.container.ip)
            portmaps.forget_flows(each.element, to_container=False)
        undo.keep()


def chain_for(mine: Attachment) -> str:
    """Of the reference's name, unless another interface of the container in this network has that."""
    chain = portmaps_iptables.chain_of(mine.network, mine.container_id)
    others = record.of_network("portmap", mine.network)
    taken = {chain_noted(made) for other, made in others if other.container_id == mine.container_id and other != mine}
    return portmaps_iptables.chain_of(mine.network, mine.container_id, mine.ifname) if chain in taken else chain


def chain_noted(made: Made | None) -> str:
    note = (made or record.NOTHING).rules.get(BY_IPTABLES)
    chain = note.get("chain") if isinstance(note, dict) else None
    return chain if isinstance(chain, str) and chain.startswith(portmaps_iptables.PREFIX) else ""


def ways_of_iptables(call: Call, chain: str) -> list[Way]:
    config = call.config
    ways = [
        Way(
            network=config.text("name"),
            container_id=call.container_id,
            chain=chain,
            container=address,
            mappings=mappings_of(call),
            conditions=config.texts(f"conditionsV{address.version}"),
            snat=config.boolean("snat", True),
            masquerade_all=config.boolean("masqAll"),
            mark_bit=config.integer("markMasqBit", 13),
            mark_chain=config.text("externalSetMarkChain"),
        )
        for address in container_addresses(previous(call), call.ifname)
    ]
    return [way for way in ways if way.own]


def remove_chain(mine: Attachment) -> None:
    """What an earlier ADD has made by iptables."""
    chain = chain_noted(record.read(mine))
    if chain:
        portmaps_iptables.remove(chain)


def refuse_listeners(mine: Attachment, wanted: Sequence[Wanted]) -> None:
    """A program on the host would hear nothing any more; one that is heard on 127.0.0.1 alone goes on."""
    if record.read(mine):
        return
    for mapping in dict.fromkeys(each.mapping for each in wanted):
        for one in listeners.listening(PROTOCOLS[mapping.protocol], mapping.host_port):
            if one.address in (None, mapping.host_ip) or (mapping.host_ip is None and not one.local):
                program = listeners.program_of(one.inode) or "a program"
                if not program.startswith(HOLDERS):
                    raise CNIError(IN_USE, f"host port `{mapping}` is in use: {program} listens on it")


def keys(wanted: Sequence[Wanted]) -> list[portmaps.Key]:
    return [(each.element.set, each.element.key) for each in wanted]


def noted(mine: Attachment) -> list[Wanted]:
    """What an earlier ADD has noted."""
    made = record.read(mine) or record.NOTHING
    return portmaps.of_note(mine.network, mine.owner, made.rules.get("portmap"))


def in_use(step: Callable[..., object], *arguments: object) -> None:
    try:
        step(*arguments)
    except portmaps.InUse as error:
        raise CNIError(IN_USE, str(error)) from error
    except BlockingIOError as error:
        raise CNIError(TRY_AGAIN_LATER, str(error)) from error


def claim(table: nft.Table, wanted: Sequence[Wanted]) -> None:
    try:
        in_use(portmaps.claim, table, wanted)
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
        made = record.read(mine)
        if not (made or mappings):
            return
        known = noted(mine)
        with nft.table(portmaps.TABLE) as table:
            removed = table.remove(keys(known) or portmaps.keys_of(table, mine.network, mappings), {mine.owner})
        if not (known or removed):
            removed = delete_by_iptables(mine, made)
        for element in removed:
            portmaps.forget_flows(element, to_container=True)
        record.remove(mine)


def delete_by_iptables(mine: Attachment, made: Made | None) -> tuple[nft.Element, ...]:
    """Without a record it is the reference's; what was mapped, as elements."""
    chain = chain_noted(made)
    if not chain:
        reference.remove_portmaps(mine.container_id)
    portmaps_iptables.remove(chain or chain_for(mine))
    note = made.rules[BY_IPTABLES] if made and chain else {}
    return tuple(each.element for each in portmaps.of_note(mine.network, mine.owner, note.get("ports")))


def check(call: Call) -> None:
    chosen, mine = backend(call.config), attachment(call)
    if chosen == IPTABLES:
        chain = chain_noted(record.read(mine)) or portmaps_iptables.chain_of(mine.network, mine.container_id)
        lost = portmaps_iptables.missing(ways_of_iptables(call, chain))
    else:
        with nft.table(portmaps.TABLE) as table:
            lost = portmaps.lost(table, wanted_by(call))
    if lost:
        raise CNIError(NOT_THERE, f"port mappings are not as they were made: {'; '.join(lost)}")


def status(call: Call) -> None:
    """The backend's program is installed, and the kernel would take our rules with the conditions of this network."""
    chosen = backend(call.config)
    examples = (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))
    try:
        if chosen == IPTABLES:
            for version in iptables.NAMES:
                iptables.restore(version, f"*{portmaps_iptables.TABLE}\nCOMMIT\n", dry=True)
        else:
            scripts = [portmaps.chain_script(each) for each in ways(call.config, examples)]
            nft.run(portmaps.base_script() + "".join(scripts), dry=True)
    except (nft.NftError, iptables.IptablesError) as error:
        raise CNIError(NOT_AVAILABLE, f"cannot map ports: {error.strerror}") from error


def gc(call: Call) -> None:
    network = call.config.text("name")
    valid = {nft.owner(network, *each) for each in call.valid_attachments}
    for stale, made in record.of_network("portmap", network):
        if stale.owner not in valid and chain_noted(made):
            portmaps_iptables.remove(chain_noted(made))
    portmaps.gc(network, valid)
    record.gc("portmap", network, valid)


PLUGIN = skel.Plugin("portmap", add, delete, check, status, gc, about="CNI portmap plugin (cni-provision)")

if __name__ == "__main__":
    skel.main(PLUGIN)
