"""Masquerading of containers' addresses, for `ipMasq` of bridge and ptp.

    table inet cni_masquerade
      map sources4 { address : goto v4-<subnet> }    one element per address; its comment is the attachment
      chain v4-<subnet>                              to the subnet itself and to multicast as it is, else masquerade

A packet costs one look-up however many containers there are; rules grow with subnets only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from typing import Union

from cni_provision.net import nft

TABLE = "cni_masquerade"
NOTE, BY_IPTABLES = "masquerade", "masquerade by iptables"  # under these a record has addresses
_SETS = ("sources4", "sources6")
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_WORD = {4: "ip", 6: "ip6"}

Address = Union[IPv4Interface, IPv6Interface]
Subnet = Union[IPv4Network, IPv6Network]


def ensure(owner: str, addresses: Sequence[Address]) -> None:
    """Masquerade what comes from `addresses` and leaves their subnets; `owner` as `nft.owner` gives it.

    An address that another attachment has is taken over: IPAM has given it to this one.
    """
    wanted = [_element(owner, address) for address in addresses]
    with nft.table(TABLE) as table:
        nft.put(table, wanted, lambda: _script({address.network for address in addresses}))


def remove(owner: str, addresses: Sequence[Address] = ()) -> None:
    """Undo `ensure`. Without `addresses` everything of `owner` is looked for. Nothing there is success."""
    with nft.table(TABLE) as table:
        keys = [(each.set, each.key) for each in (_element(owner, address) for address in addresses)]
        table.remove(keys or _keys_of(table, {owner}), {owner})


def noted(addresses: Sequence[Address]) -> list[str]:
    """What `cni_provision.net.record` keeps."""
    return list(map(str, addresses))


def of_note(note: object) -> list[Address]:
    """The addresses in a record; none where it is not as `noted` made it."""
    try:
        return [ip_interface(one) for one in note] if isinstance(note, list) else []
    except ValueError:
        return []


def rebuild(wanted: Mapping[str, Sequence[Address]]) -> nft.Rebuilt:
    """Make again what somebody took off of the addresses of each owner."""
    subnets = {address.network for addresses in wanted.values() for address in addresses}
    elements = [_element(owner, address) for owner, addresses in wanted.items() for address in addresses]
    chains = ["postrouting", *sorted(map(_chain, subnets))] if subnets else []
    with nft.table(TABLE) as table:
        return nft.rebuild(table, _script(subnets), chains, elements)


def check(owner: str, addresses: Sequence[Address]) -> tuple[str, ...]:
    """What is missing or wrong, as sentences; empty if all is as `ensure` left it."""
    with nft.table(TABLE) as table:
        wanted = [(address, _element(owner, address)) for address in addresses]
        chains = sorted({_chain(address.network) for address in addresses})
        unruly = table.unruly(["postrouting", *chains]) if wanted else ()
        return tuple(f"nftables chain `{TABLE} {chain}` has no rules" for chain in unruly) + tuple(
            f"nftables map `{TABLE} {element.set}` has no entry of this attachment for `{address.ip}`"
            for address, element in wanted
            if table.get(element.set, element.key) != element
        )


def gc(network: str, valid: Collection[str]) -> int:
    """Remove what belongs to attachments of `network` whose owner is not in `valid`; returns how many elements."""
    with nft.table(TABLE) as table:
        found = [element for name in _SETS for element in table.dump(name)]
        stale = {each.owner for each in found if each.owner.startswith(nft.of_network(network))} - set(valid)
        removed = table.remove([(each.set, each.key) for each in found if each.owner in stale], stale)
        table.delete_if_empty()
        return len(removed)


def _element(owner: str, address: Address) -> nft.Element:
    return nft.Element(f"sources{address.version}", address.ip.packed, nft.Goto(_chain(address.network)), owner)


def _chain(subnet: Subnet) -> str:
    return f"v{subnet.version}-{subnet}".replace(":", "_")


def _keys_of(table: nft.Table, owners: Collection[str]) -> list[tuple[str, bytes]]:
    return [(name, each.key) for name in _SETS for each in table.dump(name) if each.owner in owners]


def _script(subnets: Collection[Subnet]) -> str:
    """Everything but the elements; running it again changes nothing."""
    lines = [
        f"add table inet {TABLE}",
        f"add map inet {TABLE} sources4 {{ type ipv4_addr : verdict; }}",
        f"add map inet {TABLE} sources6 {{ type ipv6_addr : verdict; }}",
        f"add chain inet {TABLE} postrouting {{ type nat hook postrouting priority srcnat; }}",
        f"flush chain inet {TABLE} postrouting",
        f"add rule inet {TABLE} postrouting ip saddr vmap @sources4",
        f"add rule inet {TABLE} postrouting ip6 saddr vmap @sources6",
    ]
    for subnet in subnets:
        chain, word = _chain(subnet), _WORD[subnet.version]
        lines += [
            f"add chain inet {TABLE} {chain}",
            f"flush chain inet {TABLE} {chain}",
            f"add rule inet {TABLE} {chain} {word} daddr {{ {subnet}, {_MULTICAST[subnet.version]} }} return",
            f"add rule inet {TABLE} {chain} masquerade",
        ]
    return "\n".join(lines) + "\n"
