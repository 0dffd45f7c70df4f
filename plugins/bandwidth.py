"""bandwidth: limits for what a container sends and gets (a chained plugin, capability `bandwidth`).

The smallest configuration, after the plugin that makes the interface, a veth pair:

    {"type": "bandwidth", "capabilities": {"bandwidth": true}}

key              default      meaning
ingressRate      0: no limit  bits a second to the container
ingressBurst     100 ms       bits that may come at once; by default what passes in 100 ms, at least 64 KiB
egressRate       0: no limit  bits a second from the container
egressBurst      100 ms       bits that may leave at once
shapedSubnets    all          limit only what is exchanged with these subnets: ["192.0.2.0/24"]
unshapedSubnets  none         limit all but what is exchanged with these; excludes shapedSubnets

The runtime's limits (`runtimeConfig.bandwidth`, the same keys) hold where the configuration has none of the four.
What goes to the container waits at the host's end of its pair; what it sends is redirected to an `ifb` interface.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Optional

from cni_provision.attach.chain import host_end, previous
from cni_provision.attach.interface import attachment, described, refuse, require_kinds
from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import INVALID_CONFIG, NOT_AVAILABLE, CNIError, Result
from cni_provision.net import container, filter, link, netns, nft, qdisc, reference, rtnl, shaping
from cni_provision.net.link import Kind, Link, Settings
from cni_provision.net.qdisc import Shape
from cni_provision.net.record import Attachment
from cni_provision.net.rtnl import NetlinkError, Request, Socket
from cni_provision.net.shaping import Limit
from cni_provision.net.undo import Undo

KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")
SIDES = {"ingress": filter.SOURCE, "egress": filter.DESTINATION}  # where the others' addresses are
PREFIX, DIGITS = "bwp", 12  # of the names that the reference gives to its ifb interfaces
USUAL_BURST_SECONDS, LEAST_BURST = 0.1, 65536


@dataclass(frozen=True)
class Limits:
    """`ingress` to the container, `egress` from it."""

    ingress: Optional[Limit]
    egress: Optional[Limit]


def limits(call: Call) -> Limits:
    given = call.runtime_config.mapping("bandwidth")
    config = call.config if any(key in call.config for key in KEYS) else given
    where = given if "shapedSubnets" in given or "unshapedSubnets" in given else call.config
    if where.sequence("shapedSubnets") and where.sequence("unshapedSubnets"):
        raise CNIError(INVALID_CONFIG, "`shapedSubnets` and `unshapedSubnets` exclude each other")
    return Limits(limit(config, where, "ingress"), limit(config, where, "egress"))


def limit(config: Config, where: Config, direction: str) -> Optional[Limit]:
    found = shape(config, direction)
    shaped, unshaped = subnets(where, "shapedSubnets"), subnets(where, "unshapedSubnets")
    return Limit(found, SIDES[direction], shaped or unshaped, bool(unshaped)) if found else None


def subnets(config: Config, key: str) -> tuple[filter.Subnet, ...]:
    try:
        return tuple(ip_network(each, strict=False) for each in config.texts(key))
    except ValueError:
        raise config.error(key, "must be a list of subnets") from None


def shape(config: Config, direction: str) -> Optional[Shape]:
    """The limit of one direction; bits of the configuration are bytes of the kernel."""
    rate, burst = config.integer(f"{direction}Rate"), config.integer(f"{direction}Burst", None)
    if rate and burst == 0:
        raise config.error(f"{direction}Burst", "must also be set if rate is set")
    if burst and not rate:
        raise config.error(f"{direction}Rate", "must also be set if burst is set")
    if not rate:
        return None
    if rate < 8:
        raise config.error(f"{direction}Rate", "must be at least 8 bits a second")
    if burst is None:
        return Shape(rate // 8, min(max(int(rate // 8 * USUAL_BURST_SECONDS), LEAST_BURST), qdisc.U32 - 1))
    if not 8 <= burst < qdisc.U32 * 8:
        raise config.error(f"{direction}Burst", "must be at least 8 bits and cannot be more than 4GB")
    return Shape(rate // 8, burst // 8)


def impose(host: Socket, outer: Link, ifb: Optional[Link], wanted: Limits, undo: Undo) -> None:
    undo.later(host.perform, *shaping.freeing(outer))
    if wanted.ingress:
        host.perform(*shaping.limiting(outer, wanted.ingress))
    if wanted.egress and ifb:
        host.perform(*shaping.limiting(ifb, wanted.egress), *shaping.redirecting(outer, ifb))


def mark(mine: Attachment) -> str:
    """What the ifb says of whom it belongs to, as its alias."""
    return container.alias(mine.network, mine.container_id, mine.ifname) or mine.owner


def ifb_names(mine: Attachment) -> tuple[str, str]:
    """The reference's, which all interfaces of a container in a network would share, and one for this alone."""
    shared = mine.network + mine.container_id
    return PREFIX + reference.digest(shared, DIGITS), PREFIX + reference.digest(f"{shared}/{mine.ifname}", DIGITS)


def make_ifb(host: Socket, mine: Attachment, mtu: int, undo: Undo) -> Link:
    """Made, marked and up in one datagram, so that a kill leaves none without its mark."""
    shared, own = ifb_names(mine)
    there = link.find(host, shared)
    name = shared if there is None or there.alias == mark(mine) else own
    remains = there if there and name == shared else link.find(host, own)
    if remains:
        link.delete(host, remains)  # of an ADD that was killed
    undo.later(delete_ifb, host, name)
    settings = Settings(name=name, alias=mark(mine), up=True)
    host.perform(
        link.creating(Kind("ifb"), Settings(name=name, mtu=mtu, tx_queue=0)),
        Request(rtnl.RTM_SETLINK, settings.encode(), "mark interface", name),
    )
    return link.get(host, name)


def delete_ifb(host: Socket, name: str) -> None:
    found = link.find(host, name)
    if found and found.kind == "ifb":
        link.delete(host, found)


def ifb_of(host: Socket, mine: Attachment) -> Optional[Link]:
    """The one that has our mark, else the one of the reference's name without any."""
    found = [link.find(host, name) for name in ifb_names(mine)]
    ours = [one for one in found if one and one.kind == "ifb" and one.alias == mark(mine)]
    return next(iter(ours), found[0] if found[0] and not found[0].alias else None)


def add(call: Call) -> Result:
    before, wanted, mine = previous(call), limits(call), attachment(call, "bandwidth")
    if not (wanted.ingress or wanted.egress):
        return before
    with Socket() as host, Undo() as undo:
        outer = host_end(call, host, before)
        ifb = make_ifb(host, mine, outer.mtu, undo) if wanted.egress else None
        impose(host, outer, ifb, wanted, undo)
        undo.keep()
    shown = (replace(described(ifb), mtu=None),) if ifb else ()
    return replace(before, interfaces=(*before.interfaces, *shown))


def delete(call: Call) -> None:
    """The rest goes with the container's pair. The reference's own name counts unless `prevResult` has it not."""
    mine = attachment(call, "bandwidth")
    named = {one.name for one in call.prev_result.interfaces} if call.prev_result else set(ifb_names(mine))
    with Socket() as host:
        found = ifb_of(host, mine)
        if found and found.kind == "ifb" and (found.alias or found.name in named):
            link.delete(host, found)


def check(call: Call) -> None:
    before, wanted = previous(call), limits(call)
    if not (wanted.ingress or wanted.egress):
        return
    with Socket() as host:
        outer = host_end(call, host, before)
        wrong = shaping.unlike(host, outer, wanted.ingress) if wanted.ingress else []
        if wanted.egress:
            wrong += unlike_egress(host, outer, attachment(call, "bandwidth"), wanted.egress)
    refuse(call, wrong)


def unlike_egress(host: Socket, outer: Link, mine: Attachment, wanted: Limit) -> list[str]:
    ifb = ifb_of(host, mine)
    if ifb is None:
        return [f"interface `{ifb_names(mine)[0]}` is gone"]
    wrong = shaping.unlike(host, ifb, wanted)
    if not shaping.redirects(host, outer, ifb):
        wrong.append(f"what arrives by `{outer.name}` is not redirected to `{ifb.name}`")
    return wrong


def status(call: Call) -> None:
    """All of it is made once, in a namespace of its own: the limits of the configuration, or some."""
    wanted, some = limits(call), Limit(Shape(1 << 20, LEAST_BURST), filter.SOURCE)
    inside = netns.create()
    try:
        with Socket(inside) as trial, Undo() as undo:
            require_kinds(trial, "ifb")
            ifb = make_ifb(trial, attachment(call, "bandwidth"), 1500, undo)
            impose(trial, link.get(trial, "lo"), ifb, Limits(wanted.ingress or some, wanted.egress or some), undo)
    except NetlinkError as error:
        if error.errno == errno.EPERM:
            raise
        raise CNIError(NOT_AVAILABLE, f"this kernel cannot limit bandwidth: {error}") from error
    finally:
        os.close(inside)


def gc(call: Call) -> None:
    limits(call)
    network = call.config.text("name")
    valid = {mark(Attachment("bandwidth", network, *each)) for each in call.valid_attachments}
    with Socket() as host:
        for one in link.dump(host):
            ours = one.alias.startswith(f"{network}/") or one.alias.startswith(nft.of_network(network))
            if one.kind == "ifb" and ours and one.alias not in valid:
                link.delete(host, one)


PLUGIN = skel.Plugin(
    "bandwidth", add, delete, check, status, gc, skel.ALL_VERSIONS[2:], "CNI bandwidth plugin (cni-provision)"
)
