"""A veth pair between the host and a container, with what belongs to it on the host: its record and its rules."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Optional, Protocol

from cni_provision.attach import interface, ipam
from cni_provision.attach.interface import addresses, by_name
from cni_provision.attach.options import IPTABLES, NFTABLES
from cni_provision.cni.call import Call
from cni_provision.cni.types import NOT_AVAILABLE, CNIError, IPAddress, IPInterface, Result
from cni_provision.net import container, link, masquerade, nft, record, reference, spoofcheck, sysctl
from cni_provision.net.container import Pair
from cni_provision.net.link import Settings
from cni_provision.net.masquerade import BY_IPTABLES, NOTE
from cni_provision.net.record import Attachment, Made
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


class Rules(Protocol):
    """Which rules a network wants."""

    @property
    def masquerade(self) -> str: ...
    @property
    def check_source(self) -> bool: ...


def plug(mine: Attachment, host: Socket, inside: Socket, inner: Settings, outer: Settings, undo: Undo) -> Pair:
    """The pair, noted before it is made, its host end still down."""
    pair = container.connect(host, inside, inner, outer, note=lambda name: record.write(mine, Made(name)))
    undo.later(link.delete, host, pair.outer)
    return pair


def ignore_router_advertisements(*names: str) -> None:
    """A container must not be able to give the host routes by these interfaces."""
    sysctl.write_present({f"net/ipv6/conf/{name}/accept_ra": "0" for name in names})


def alias(mine: Attachment) -> Optional[str]:
    """What the host's end says of whom it belongs to."""
    return container.alias(mine.network, mine.container_id, mine.ifname)


def first_address(own: IPInterface) -> IPAddress:
    """The gateway where IPAM names none."""
    return own.network.network_address + 1


def forward(addresses: Iterable[IPInterface]) -> None:
    """The host passes on packets of the families of these addresses."""
    for version in {one.version for one in addresses}:
        sysctl.write(FORWARDING[version], "1")


def add_rules(mine: Attachment, pair: Pair, own: list[IPInterface], wanted: Rules, undo: Undo) -> None:
    """The rules of this attachment, noted before they are made."""
    rules: dict[str, Any] = {}
    if wanted.check_source:
        rules["spoofcheck"] = spoofcheck.noted(pair.outer.name, pair.inner.mac)
    if wanted.masquerade:
        rules[BY_IPTABLES if wanted.masquerade == IPTABLES else NOTE] = masquerade.noted(own)
    record.write(mine, Made(pair.outer.name, pair.outer.index, rules))
    undo.later(take_off_rules, mine, Made(rules=rules))
    if wanted.check_source:
        spoofcheck.ensure(mine.owner, pair.outer.name, pair.inner.mac)
    if wanted.masquerade == IPTABLES:
        from cni_provision.net import masquerade_iptables  # here and below, because few networks want it

        masquerade_iptables.ensure(mine, own)
    elif wanted.masquerade:
        masquerade.ensure(mine.owner, own)


def require_program(wanted: Rules) -> None:
    """For STATUS: rules could be made."""
    if (wanted.masquerade == NFTABLES or wanted.check_source) and not nft.program():
        raise CNIError(NOT_AVAILABLE, "the program `nft` is not installed; `ipMasq` and `macspoofchk` need it")
    if wanted.masquerade == IPTABLES and not _iptables_available():
        raise CNIError(NOT_AVAILABLE, "iptables is not installed; `ipMasq` with the backend iptables needs it")


def take_off_rules(mine: Attachment, made: Made) -> None:
    if "spoofcheck" in made.rules:
        spoofcheck.remove(mine.owner)
    if NOTE in made.rules:
        masquerade.remove(mine.owner, masquerade.of_note(made.rules[NOTE]))
    if BY_IPTABLES in made.rules:
        _take_off_iptables(mine, made)


def _take_off_iptables(mine: Attachment, made: Made) -> None:
    from cni_provision.net import masquerade_iptables

    masquerade_iptables.remove(mine, masquerade_iptables.noted(made))


def _iptables_available() -> bool:
    from cni_provision.net import iptables

    return all(map(iptables.available, iptables.NAMES))


def not_masqueraded(mine: Attachment, own: list[IPInterface], wanted: Rules) -> Sequence[str]:
    """For CHECK: what is missing of it, as sentences."""
    if wanted.masquerade == IPTABLES:
        from cni_provision.net import masquerade_iptables

        return masquerade_iptables.missing(mine, own)
    return masquerade.check(mine.owner, own) if wanted.masquerade else ()


def delete(call: Call, mine: Attachment, wanted: Rules) -> None:
    """Each step is done even when another fails, the interface first; what is gone already is fine."""
    with record.held(mine):
        made = record.read(mine) or record.NOTHING
        with ExitStack() as steps:
            if BY_IPTABLES in made.rules:
                steps.callback(_take_off_iptables, mine, made)
            elif wanted.masquerade or NOTE in made.rules:
                noted = masquerade.of_note(made.rules.get(NOTE))
                steps.callback(reference.remove_masquerade, mine.network, mine.container_id, mine.ifname)
                steps.callback(masquerade.remove, mine.owner, noted + addresses(call.prev_result or Result()))
            if wanted.check_source or "spoofcheck" in made.rules:
                steps.callback(reference.remove_spoofcheck, mine.container_id, mine.ifname)
                steps.callback(spoofcheck.remove, mine.owner)
            ipam.delete_with(call, steps, lambda: container.unplug(mine, made, call.netns_fd))
        record.remove(mine)


def check(call: Call, differences: Callable[[Result, Socket, Socket], Iterable[str]]) -> None:
    """CHECK of a pair; `differences` between result, host and container, as sentences."""
    expected = interface.previous(call)
    ipam.check(call)
    with Socket() as host, Socket(call.netns_fd) as inside:
        wrong = list(differences(expected, host, inside))
    interface.refuse(call, wrong)


def ends(call: Call, expected: Result, host: Socket, inside: Socket) -> Generator[str, None, Optional[Pair]]:
    """Both ends, and what is not as ADD left it of them, as sentences; None where one of them is missing."""
    inner = link.find(inside, call.ifname)
    yield from container.unlike(inner, call.ifname, "veth", by_name(expected, call.netns))
    if inner is None or inner.kind != "veth":
        return None
    outer = link.find_index(host, inner.parent)
    if outer is None:
        yield f"the host's end of `{call.ifname}` is gone"
        return None
    yield from container.unlike(outer, outer.name, "veth", by_name(expected))
    return Pair(outer, inner)


def gc(call: Call, plugin: str) -> None:
    """Everything of this network but what the valid attachments have; each step is done even when another fails."""
    from cni_provision.net import masquerade_iptables

    network = call.config.text("name")
    owners = {nft.owner(network, *one) for one in call.valid_attachments}
    with ExitStack() as steps:
        steps.callback(masquerade.gc, network, owners)
        steps.callback(masquerade_iptables.gc, plugin, network, owners)
        steps.callback(spoofcheck.gc, network, owners)
        steps.callback(ipam.gc, call)
        steps.callback(container.unplug_stale, plugin, network, call.valid_attachments)
    record.gc(plugin, network, owners)
