"""Forwarding to and from containers in iptables, with the chains and rules of the reference's firewall plugin.

FORWARD                 first CNI-ISOLATION-STAGE-1 where a bridge has an ingress policy, then CNI-FORWARD
CNI-FORWARD             first the administrator's chain, then two rules for each address
CNI-ISOLATION-STAGE-1   what comes from such a bridge and leaves it goes on to stage 2
CNI-ISOLATION-STAGE-2   what goes to another such bridge is dropped
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from cni_provision.net import iptables
from cni_provision.net.address import IPInterface
from cni_provision.net.iptables import Draft, bare, quoted

TABLE = "filter"
FORWARD, OWN, ADMIN = "FORWARD", "CNI-FORWARD", "CNI-ADMIN"
STAGES = ("CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2")
ENTRY = f"-m comment {quoted('CNI firewall plugin rules')} -j {OWN}"
BOTH = f"-m comment {quoted('CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)')}"
POLICIES = ("same-bridge", "isolated")


def admit(addresses: Sequence[IPInterface], admin: str = ADMIN) -> None:
    for version in versions(addresses):

        def plan(draft: Draft, version: int = version) -> None:
            draft.chain(admin)
            draft.ensure(FORWARD, ENTRY, first=True)
            draft.ensure(OWN, admin_rule(admin), first=True)
            for rule in rules(addresses, version):
                draft.ensure(OWN, rule)

        iptables.change(version, TABLE, plan)


def dismiss(addresses: Sequence[IPInterface]) -> None:
    """Undo `admit`; the chains stay. Nothing there is success."""
    unwanted = set(rules(addresses, 4) + rules(addresses, 6))
    for version in versions(addresses):
        if iptables.may_have(version, TABLE, [OWN]) and iptables.available(version):
            iptables.change(version, TABLE, lambda draft: draft.remove(OWN, unwanted.__contains__))


def police(bridge: str, policy: str, families: Collection[int]) -> None:
    """Give a bridge its ingress policy, in place of another that it has."""
    for version in families:
        iptables.change(version, TABLE, lambda draft: _police(draft, bridge, policy))


def unpolice(bridge: str, families: Collection[int] = (4, 6)) -> None:
    unwanted = {bare(rule) for policy in POLICIES for _, rule in policed(bridge, policy)}
    for version in families:
        if iptables.may_have(version, TABLE, STAGES) and iptables.available(version):
            iptables.change(version, TABLE, lambda draft: _remove_from_stages(draft, unwanted))


def missing(addresses: Sequence[IPInterface], admin: str, bridge: str, policy: str) -> list[str]:
    """What is not as it was made, as sentences."""
    wrong = []
    for version in versions(addresses):
        there = iptables.listing(version, TABLE)
        wanted = [(FORWARD, ENTRY), (OWN, admin_rule(admin)), *((OWN, rule) for rule in rules(addresses, version))]
        wanted += [(FORWARD, f"{BOTH} -j {STAGES[0]}"), *policed(bridge, policy)] if policy in POLICIES else []
        wrong += [
            f"{chain} has no rule `{rule}`"
            for chain, rule in wanted
            if bare(rule) not in map(bare, there.get(chain, ()))
        ]
    return wrong


def versions(addresses: Iterable[IPInterface]) -> list[int]:
    return sorted({one.version for one in addresses})


def rules(addresses: Iterable[IPInterface], version: int) -> list[str]:
    hosts = [f"{one.ip}/{one.max_prefixlen}" for one in addresses if one.version == version]
    answers = "-m conntrack --ctstate RELATED,ESTABLISHED"
    return [rule for host in hosts for rule in (f"-d {host} {answers} -j ACCEPT", f"-s {host} -j ACCEPT")]


def admin_rule(admin: str) -> str:
    return f"-m comment {quoted('CNI firewall plugin admin overrides')} -j {admin}"


def policed(bridge: str, policy: str) -> list[tuple[str, str]]:
    """(chain, rule) of what a bridge has for itself."""
    comment = f"-m comment {quoted(f'CNI firewall plugin rules (ingressPolicy: {policy})')}"
    found = [(STAGES[0], f"-i {bridge} ! -o {bridge} {comment} -j {STAGES[1]}")]
    if policy == "isolated":
        found.append((STAGES[0], f"-i {bridge} -o {bridge} {comment} -j DROP"))
    return [*found, (STAGES[1], f"-o {bridge} {BOTH} -j DROP")]


def _police(draft: Draft, bridge: str, policy: str) -> None:
    other = POLICIES[policy == POLICIES[0]]
    outdated, present = ({bare(rule) for _, rule in policed(bridge, one)} for one in (other, policy))
    _remove_from_stages(draft, outdated - present)
    draft.ensure(FORWARD, f"{BOTH} -j {STAGES[0]}", first=True)
    for stage in STAGES:
        draft.ensure(stage, f"{BOTH} -j RETURN")
    for chain, rule in policed(bridge, policy):
        draft.ensure(chain, rule, first=True)


def _remove_from_stages(draft: Draft, unwanted: Collection[str]) -> None:
    for stage in STAGES:
        draft.remove(stage, lambda rule: bare(rule) in unwanted)
