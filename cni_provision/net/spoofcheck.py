"""Frames from a container only with its own MAC address, for `macspoofchk` of bridge.

    table bridge cni_spoofcheck
      set guarded { ifname }                   host ends whose frames are looked at
      set allowed { ifname . ether_addr }      what may come in by them
      chain prerouting                         guarded and not allowed: drop

An element's comment is its attachment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from cni_provision.net import link, nft
from cni_provision.net.nft import BRIDGE, Element

TABLE = "cni_spoofcheck"
GUARDED, ALLOWED = "guarded", "allowed"
SCRIPT = f"""
add table bridge {TABLE}
add set bridge {TABLE} {GUARDED} {{ type ifname; }}
add set bridge {TABLE} {ALLOWED} {{ type ifname . ether_addr; }}
add chain bridge {TABLE} prerouting {{ type filter hook prerouting priority -300; }}
flush chain bridge {TABLE} prerouting
add rule bridge {TABLE} prerouting iifname @{GUARDED} iifname . ether saddr != @{ALLOWED} drop
"""


def ensure(owner: str, port: str, mac: str) -> None:
    """Let only frames from `mac` in by the host end `port`; `owner` as `nft.owner` gives it."""
    wanted = elements(owner, port, mac)
    with nft.table(TABLE, BRIDGE) as table:
        nft.put(table, wanted, lambda: SCRIPT)


def remove(owner: str) -> None:
    """Undo `ensure`. Nothing there is success."""
    with nft.table(TABLE, BRIDGE) as table:
        found = [each for each in _dump(table) if each.owner == owner]
        if found:
            table.remove(_keys(found), {owner})


def missing(owner: str, port: str, mac: str) -> list[str]:
    """What is not as `ensure` left it, as sentences."""
    with nft.table(TABLE, BRIDGE) as table:
        absent = [each.set for each in elements(owner, port, mac) if table.get(each.set, each.key) != each]
        if not absent and table.unruly(["prerouting"]):
            return [f"nftables chain `{TABLE} prerouting` has no rules"]
    return [f"nftables set `{TABLE} {name}` has no entry of this attachment for `{port}`" for name in absent]


def noted(port: str, mac: str) -> list[str]:
    """What `cni_provision.net.record` keeps."""
    return [port, mac]


def of_note(owner: str, note: object) -> list[Element]:
    """The elements in a record; none where it is not as `noted` made it."""
    if not (isinstance(note, list) and len(note) == 2 and all(isinstance(one, str) for one in note)):
        return []
    try:
        return elements(owner, *note)
    except ValueError:
        return []


def rebuild(wanted: Sequence[Element]) -> nft.Rebuilt:
    """Make again what somebody took off."""
    with nft.table(TABLE, BRIDGE) as table:
        return nft.rebuild(table, SCRIPT, ["prerouting"] if wanted else [], wanted)


def gc(network: str, valid: Collection[str]) -> None:
    """Remove what belongs to attachments of `network` whose owner is not in `valid`."""
    with nft.table(TABLE, BRIDGE) as table:
        ours = [each for each in _dump(table) if each.owner.startswith(nft.of_network(network))]
        stale = [each for each in ours if each.owner not in valid]
        if stale:
            table.remove(_keys(stale), {each.owner for each in stale})


def elements(owner: str, port: str, mac: str) -> list[Element]:
    """The two elements of one attachment; a key's parts are padded to four bytes."""
    name = port.encode().ljust(16, b"\0")
    source = link.mac_bytes(mac).ljust(8, b"\0")
    return [Element(GUARDED, name, owner=owner), Element(ALLOWED, name + source, owner=owner)]


def _dump(table: nft.Table) -> list[Element]:
    return table.dump(GUARDED) + table.dump(ALLOWED)


def _keys(found: Iterable[Element]) -> list[tuple[str, bytes]]:
    return [(each.set, each.key) for each in found]
