"""What the reference plugins made and ours make otherwise: taken off with the attachment that it belongs to.

So a node can be switched to our plugins while containers run. Everything is asked for by its exact name first; the
`nft` program is run only on a hit. Names are those of `pkg/utils`, `pkg/ip` and `pkg/link` of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

from cni_provision.cni.digest import sha512
from cni_provision.net import nft

IPV4, IPV6 = 2, 10  # nftables families, as NFPROTO_*
FAMILIES = {IPV4: "ip", IPV6: "ip6", nft.INET: "inet", nft.BRIDGE: "bridge"}


def remove_masquerade(network: str, container_id: str, ifname: str) -> None:
    """Chains of its iptables backend (where iptables writes nftables) and rules of its nftables backend.

    Its chains are named without `ifname`: two interfaces of a container in one network share them, also there.
    """
    chain = "CNI-" + digest(network + container_id, 24)
    for family in (IPV4, IPV6):
        remove_chains(family, "nat", "POSTROUTING", [chain])
    comment = f"{digest(network, 16)}-{digest(f'{ifname}:{container_id}', 16)}"
    remove_rules(nft.INET, "cni_plugins_masquerade", "masq_checks", rf'comment "{comment}')


def remove_spoofcheck(container_id: str, ifname: str) -> None:
    chain = f"cni-br-iface-{container_id}-{ifname}"
    remove_chains(nft.BRIDGE, "nat", "PREROUTING", [chain, f"{chain}-mac"])


def remove_portmaps(container_id: str) -> None:
    """Rules of its nftables backend, which are named by the container alone."""
    comment = container_id.replace(".", "[.]")
    for family in (IPV4, IPV6):
        for chain in ("hostports", "hostip_hostports", "masquerading"):
            remove_rules(family, "cni_hostport", chain, f'comment "{comment}"')


def remove_chains(family: int, table: str, base: str, chains: Sequence[str]) -> None:
    """Delete chains, and the rules of `base` that jump to them, in one transaction."""
    found = with_rules(family, table, chains)
    if not found:
        return
    import re  # costs milliseconds, and few calls come here

    jump = "|".join(map(re.escape, found))
    commands = deletions(family, table, base, rf"(jump|goto) ({jump})\b")
    commands += [f"{verb} chain {FAMILIES[family]} {table} {name}" for verb in ("flush", "delete") for name in found]
    nft.run("\n".join(commands) + "\n")


def remove_rules(family: int, table: str, chain: str, pattern: str) -> None:
    """Delete the rules of a chain whose text has `pattern`."""
    if with_rules(family, table, [chain]):
        commands = deletions(family, table, chain, pattern)
        if commands:
            nft.run("\n".join(commands) + "\n")


def with_rules(family: int, table: str, chains: Sequence[str]) -> list[str]:
    with nft.table(table, family) as opened:
        without = opened.unruly(chains)
    return [name for name in chains if name not in without]


def deletions(family: int, table: str, chain: str, pattern: str) -> list[str]:
    import re

    where = f"{FAMILIES[family]} {table} {chain}"
    listed = nft.run(f"list chain {where}\n")
    rules = [line for line in listed.splitlines() if re.search(pattern, line)]
    return [f"delete rule {where} handle {line.rsplit(None, 1)[1]}" for line in rules]


def digest(text: str, length: int) -> str:
    return sha512(text.encode())[:length]
