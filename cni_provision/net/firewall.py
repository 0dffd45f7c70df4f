"""Forwarding to and from containers in nftables, for the firewall plugin.

    table inet cni_firewall
      set containers4, containers6       whose packets are forwarded; an element's comment is its attachment
      set bridges { ifname }             bridges with an ingress policy: between two of them nothing passes
      set neighbours { ifname . ifname } those of them whose own containers reach each other, twice the same name
      chain admin                        for whoever runs the node; asked before the containers' rules
      chain forward

A packet costs four look-ups however many containers there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_interface

from cni_provision.net import nft, record
from cni_provision.net.address import IPInterface
from cni_provision.net.nft import Element
from cni_provision.net.record import Attachment

TABLE = "cni_firewall"
SETS = ("containers4", "containers6")
BRIDGES, NEIGHBOURS = "bridges", "neighbours"
CHAINS = ("forward",)
SCRIPT = f"""
add table inet {TABLE}
add set inet {TABLE} containers4 {{ type ipv4_addr; }}
add set inet {TABLE} containers6 {{ type ipv6_addr; }}
add set inet {TABLE} {BRIDGES} {{ type ifname; }}
add set inet {TABLE} {NEIGHBOURS} {{ type ifname . ifname; }}
add chain inet {TABLE} admin
add chain inet {TABLE} forward {{ type filter hook forward priority filter; }}
flush chain inet {TABLE} forward
add rule inet {TABLE} forward iifname @{BRIDGES} oifname @{BRIDGES} iifname . oifname != @{NEIGHBOURS} drop
add rule inet {TABLE} forward jump admin
add rule inet {TABLE} forward ct state established,related ip daddr @containers4 accept
add rule inet {TABLE} forward ct state established,related ip6 daddr @containers6 accept
add rule inet {TABLE} forward ip saddr @containers4 accept
add rule inet {TABLE} forward ip6 saddr @containers6 accept
"""
SAME_BRIDGE, ISOLATED = "same-bridge", "isolated"


def admit(owner: str, addresses: Sequence[IPInterface]) -> None:
    """Forward what these addresses send, and the answers. IPAM has given them to `owner`, whoever had them before."""
    _ensure(elements(owner, addresses))


def dismiss(owner: str, addresses: Sequence[IPInterface]) -> None:
    """Undo `admit`. Without `addresses` everything of `owner` is looked for. Nothing there is success."""
    with nft.table(TABLE) as table:
        keys = [(one.set, one.key) for one in elements(owner, addresses)]
        table.remove(keys or [(one.set, one.key) for one in _dump(table) if one.owner == owner], {owner})


def police(network: str, bridge: str, policy: str) -> None:
    """Give a bridge its ingress policy, in place of another that it has."""
    wanted = policed(network, bridge, policy)
    if policy == ISOLATED:
        with nft.table(TABLE) as table:
            nft.evict(table, [(NEIGHBOURS, _name(bridge) * 2)])
    with nft.table(TABLE) as table:
        missing = [one for one in wanted if table.get(one.set, one.key) is None]
    _ensure(missing)


def unpolice(mine: Attachment, bridge: str) -> None:
    """Take off a bridge's policy when no other attachment asks for one."""
    if policed_by_another(mine, bridge):
        return
    with nft.table(TABLE) as table:
        nft.evict(table, [(BRIDGES, _name(bridge)), (NEIGHBOURS, _name(bridge) * 2)])
    other = policed_by_another(mine, bridge)
    if other:  # it came while we looked
        police(other[0].network, bridge, other[1].rules["firewall"]["policy"])


def policed_by_another(mine: Attachment, bridge: str) -> record.Record | None:
    return next((one for one in record.of_plugin(mine.plugin) if one[0] != mine and _of_bridge(one[1], bridge)), None)


def missing(wanted: Sequence[Element]) -> list[str]:
    """What is not there any more of `elements` and `policed`, as sentences."""
    with nft.table(TABLE) as table:
        absent = [one for one in wanted if _unlike(one, table.get(one.set, one.key))]
        if wanted and table.unruly(CHAINS):
            return [f"nftables chain `{TABLE} forward` has no rules"]
    return [f"nftables set `{TABLE} {one.set}` has no entry of this attachment" for one in absent]


def rebuild(wanted: Sequence[Element]) -> nft.Rebuilt:
    """Make again what somebody took off."""
    with nft.table(TABLE) as table:
        return nft.rebuild(table, SCRIPT, CHAINS if wanted else (), wanted)


def gc(network: str, valid: Collection[str]) -> None:
    """Remove what belongs to attachments of `network` whose owner is not in `valid`."""
    with nft.table(TABLE) as table:
        found = [one for one in _dump(table) if one.owner.startswith(nft.of_network(network))]
        stale = [one for one in found if one.owner not in valid]
        table.remove([(one.set, one.key) for one in stale], {one.owner for one in stale})
        table.delete_if_empty()


def elements(owner: str, addresses: Iterable[IPInterface]) -> list[Element]:
    return [Element(f"containers{one.version}", one.ip.packed, owner=owner) for one in addresses]


def policed(network: str, bridge: str, policy: str) -> list[Element]:
    """The elements of a bridge belong to its network: they stay as long as one of its attachments."""
    owner = nft.owner(network, "", bridge)
    own = [Element(BRIDGES, _name(bridge), owner=owner)]
    return own + [Element(NEIGHBOURS, _name(bridge) * 2, owner=owner)] * (policy == SAME_BRIDGE)


def of_note(network: str, owner: str, note: object) -> list[Element]:
    """The elements in a record of the firewall plugin; none where iptables or firewalld has them, or it is broken."""
    if not isinstance(note, dict) or note.get("backend") != "nftables":
        return []
    try:
        own = elements(owner, map(ip_interface, note["addresses"]))
        return own + (policed(network, str(note["bridge"]), str(note["policy"])) if note["bridge"] else [])
    except (KeyError, ValueError, TypeError):
        return []


def _ensure(wanted: Sequence[Element]) -> None:
    with nft.table(TABLE) as table:
        nft.put(table, wanted, lambda: SCRIPT)


def _unlike(wanted: Element, found: Element | None) -> bool:
    """A bridge may have got its policy by another network."""
    return found is None or (wanted.set in SETS and found != wanted)


def _of_bridge(made: record.Made, bridge: str) -> bool:
    note = made.rules.get("firewall")
    return isinstance(note, dict) and note.get("bridge") == bridge


def _name(bridge: str) -> bytes:
    return bridge.encode().ljust(16, b"\0")


def _dump(table: nft.Table) -> list[Element]:
    return [one for name in SETS for one in table.dump(name)]
