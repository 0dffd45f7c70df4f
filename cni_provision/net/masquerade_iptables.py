"""Masquerading of containers' addresses in iptables, with the reference's chains and rules.

    POSTROUTING             one rule for each address → CNI-<hash>
    CNI-<hash>              to the subnet itself and to multicast as it is, else masquerade

The reference's chains are named without `ifname`: two interfaces of a container in a network share them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cni_provision.net import iptables, record, reference
from cni_provision.net.iptables import Draft, leads_to, quoted
from cni_provision.net.masquerade import BY_IPTABLES, Address, of_note
from cni_provision.net.record import Attachment, Made

TABLE, ENTRY = "nat", "POSTROUTING"
CHAIN_DIGITS = 24  # of a name of 28 letters
MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


def chain_of(mine: Attachment) -> str:
    return "CNI-" + reference.digest(mine.network + mine.container_id, CHAIN_DIGITS)


def ensure(mine: Attachment, addresses: Sequence[Address]) -> None:
    for version in {one.version for one in addresses}:

        def plan(draft: Draft, version: int = version) -> None:
            for chain, rule in rules(mine, addresses, version):
                draft.ensure(chain, rule, first="-j ACCEPT" in rule)

        iptables.change(version, TABLE, plan)


def remove(mine: Attachment, addresses: Sequence[Address] = ()) -> None:
    """Undo `ensure`. Without `addresses` all that leads to the chain goes. Nothing there is success."""
    chain, sources = chain_of(mine), tuple(f"-s {one.ip}/{one.max_prefixlen} " for one in addresses)

    def plan(draft: Draft) -> None:
        draft.remove(ENTRY, lambda rule: leads_to(chain)(rule) and rule.startswith(sources or ""))
        if not any(map(leads_to(chain), draft.chains.get(ENTRY, ()))):
            draft.drop(chain)

    for version in iptables.NAMES:
        if iptables.may_have(version, TABLE, [chain]) and iptables.available(version):
            iptables.change(version, TABLE, plan)


def missing(mine: Attachment, addresses: Sequence[Address]) -> list[str]:
    """What is not as `ensure` left it, as sentences."""
    wrong = []
    for version in sorted({one.version for one in addresses}):
        there = iptables.listing(version, TABLE)
        wanted = rules(mine, addresses, version)
        wrong += [f"{chain} has no rule `{rule}`" for chain, rule in wanted if rule not in there.get(chain, ())]
    return wrong


def noted(made: Made) -> list[Address]:
    """What a record names."""
    return of_note(made.rules.get(BY_IPTABLES))


def gc(plugin: str, network: str, valid: Collection[str]) -> None:
    """Remove what belongs to attachments of `network` whose owner is not in `valid`."""
    for stale, made in record.of_network(plugin, network):
        if stale.owner not in valid and noted(made):
            remove(stale, noted(made))


def rules(mine: Attachment, addresses: Sequence[Address], version: int) -> list[tuple[str, str]]:
    """(chain, rule) of each."""
    chain = chain_of(mine)
    comment = "-m comment " + quoted(f'name: "{mine.network}" id: "{mine.container_id}"')
    own = [one for one in addresses if one.version == version]
    found = [(chain, f"! -d {MULTICAST[version]} {comment} -j MASQUERADE")]
    found += [(chain, f"-d {one.network} {comment} -j ACCEPT") for one in own]
    return found + [(ENTRY, f"-s {one.ip}/{one.max_prefixlen} {comment} -j {chain}") for one in own]
