"""An interface in the container: configured, described in the result, compared with it, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace

from cni_provision.attach import ipam
from cni_provision.cni.call import Call
from cni_provision.cni.results import dns_of
from cni_provision.cni.types import (
    DNS,
    INVALID_CONFIG,
    NOT_AVAILABLE,
    UNDECODABLE,
    CNIError,
    Interface,
    IPConfig,
    IPInterface,
    Result,
)
from cni_provision.cni.values import Config
from cni_provision.net import container, link, single, sysctl
from cni_provision.net.link import Link
from cni_provision.net.record import Attachment
from cni_provision.net.rtnl import Socket

NOT_AS_MADE = 100
ANNOUNCE = ("net/ipv4/conf/{}/arp_notify", "net/ipv6/conf/{}/ndisc_notify")
DETECT = ("net/ipv6/conf/{}/accept_dad", "net/ipv6/conf/{}/enhanced_dad")


def attachment(call: Call, plugin: str) -> Attachment:
    return Attachment(plugin, call.config.text("name"), call.container_id, call.ifname, call.added, call.undoes)


def addresses(result: Result) -> list[IPInterface]:
    return [ip.address for ip in result.ips]


def described(found: Link, sandbox: str = "") -> Interface:
    return Interface(found.name, found.mac, sandbox, found.mtu)


def configure(call: Call, inside: Socket, inner: Link, planned: Result, *, detect_duplicates: bool = True) -> None:
    """Its addresses, announced to the neighbours, and its routes; without any of them it only comes up."""
    assert call.netns_fd is not None
    if planned.ips:
        sysctl.write_present(parameters(inner.name, detect_duplicates=detect_duplicates), call.netns_fd)
    gateways = [ip.gateway for ip in planned.ips if ip.gateway is not None]
    routes = container.routes(planned.routes, gateways, inner.index)
    own = addresses(planned)
    container.configure(inside, call.netns_fd, inner, own, routes, detect_duplicates=detect_duplicates)


def parameters(name: str, *, detect_duplicates: bool) -> dict[str, str]:
    announce = {key.format(name): "1" for key in ANNOUNCE}
    return {**announce, **{key.format(name): "1" if detect_duplicates else "0" for key in DETECT}}


def complete(call: Call, inside: Socket, inner: Link, planned: Result, *, detect_duplicates: bool = True) -> Result:
    """The result of ADD for an interface that stands alone, once it has all that is planned."""
    configure(call, inside, inner, planned, detect_duplicates=detect_duplicates)
    ips = tuple(replace(ip, interface=0) for ip in planned.ips)
    own = (described(inner, call.netns),)
    return replace(planned, cni_version=call.version, interfaces=own, ips=ips, dns=dns(call, planned))


def dns(call: Call, planned: Result) -> DNS:
    """The network's `dns`, else IPAM's."""
    return dns_of(Config({"dns": call.config.get("dns")}, "", UNDECODABLE).mapping("dns")) or planned.dns


def remove(call: Call, kind: str) -> None:
    """DEL of one that stands alone, where there is one of that kind; each step is done even when another fails."""
    with ExitStack() as steps:
        ipam.delete_with(call, steps, lambda: _remove(call, kind))


def _remove(call: Call, kind: str) -> None:
    if call.netns_fd is not None:
        single.remove(call.netns_fd, call.ifname, kind)


def previous(call: Call) -> Result:
    """What ADD has left; CNIError 7 where the runtime does not say."""
    if call.prev_result is None:
        raise CNIError(INVALID_CONFIG, "required prevResult missing")
    return call.prev_result


def by_name(result: Result, sandbox: str = "") -> dict[str, Interface]:
    """The interfaces of one side: the host's, or those of a container."""
    return {one.name: one for one in result.interfaces if one.sandbox == sandbox}


def check(call: Call, kind: str, unlike: Callable[[Link], Iterable[str]] = lambda found: ()) -> None:
    """CHECK of one that stands alone; `unlike` says what is not as it should be of what is special to its kind.

    Any kind will do where `kind` is empty.
    """
    expected = previous(call)
    ipam.check(call)
    with Socket(call.netns_fd) as inside:
        found = link.find(inside, call.ifname)
        wrong = container.unlike(
            found, call.ifname, kind or (found.kind if found else ""), by_name(expected, call.netns)
        )
        if found and not wrong:
            wrong = [*unlike(found), *missing(call, inside, expected)]
    refuse(call, wrong)


def missing(call: Call, inside: Socket, expected: Result) -> list[str]:
    """What the container's interface lacks of its addresses and routes, as sentences."""
    own = [ip.address for ip in own_ips(call, expected)]
    return container.missing(inside, call.ifname, own, [route.dst for route in expected.routes])


def own_ips(call: Call, result: Result) -> list[IPConfig]:
    """The addresses of the container's interface in a result; one that belongs to no interface counts too."""
    names = [one.name if one.sandbox else "" for one in result.interfaces]
    return [ip for ip in result.ips if ip.interface is None or call.ifname in names[ip.interface :][:1]]


def refuse(call: Call, wrong: list[str]) -> None:
    """End a CHECK that has found something wrong, as sentences."""
    if wrong:
        raise CNIError(NOT_AS_MADE, f"`{call.ifname}` is not as ADD left it: {wrong[0]}", "; ".join(wrong[1:]))


def require_kinds(host: Socket, *kinds: str) -> None:
    """For STATUS: this kernel can make such interfaces."""
    unknown = [kind for kind in kinds if not link.supported(host, kind)]
    if unknown:
        raise CNIError(NOT_AVAILABLE, f"this kernel has no {' and no '.join(unknown)} interfaces")
