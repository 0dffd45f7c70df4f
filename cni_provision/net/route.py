"""Routes over rtnetlink (rtnetlink(7), `include/uapi/linux/rtnetlink.h`)."""

from __future__ import annotations

import errno
import ipaddress
import struct
from _socket import AF_INET, AF_INET6
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Optional, Union

from cni_provision.net import rtnl
from cni_provision.net.rtnl import IPAddress, Request, Socket

IPNetwork = Union[IPv4Network, IPv6Network]

# struct rtmsg: family, destination and source length, TOS, table, protocol, scope, type, flags
MESSAGE = struct.Struct("=BBBBBBBBI")
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_TABLE = 1, 4, 5, 6, 7, 8, 15
RTAX_MTU, RTAX_ADVMSS = 2, 8
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST, SCOPE_ANY = 0, 253, 254, 255


@dataclass(frozen=True)
class Route:
    """One route; `index` is that of the link it leaves by. 0 and None are the kernel's defaults."""

    destination: IPNetwork
    gateway: Optional[IPAddress] = None
    index: int = 0
    table: int = RT_TABLE_MAIN
    priority: int = 0
    scope: int = SCOPE_UNIVERSE
    mtu: int = 0
    advmss: int = 0
    source: Optional[IPAddress] = None
    type: int = RTN_UNICAST
    protocol: int = RTPROT_BOOT  # who made it; 0 to delete it whoever that was

    def __str__(self) -> str:
        via = f" via {self.gateway}" if self.gateway is not None else ""
        return f"{self.destination}{via}"


def encode(route: Route) -> bytes:
    """`struct rtmsg` and its attributes."""
    family = AF_INET if route.destination.version == 4 else AF_INET6
    table = route.table if route.table < 256 else 0
    prefix = route.destination.prefixlen
    body = MESSAGE.pack(family, prefix, 0, 0, table, route.protocol, route.scope, route.type, 0)
    if prefix:
        body += rtnl.attribute(RTA_DST, route.destination.network_address.packed)
    if route.gateway is not None:
        body += rtnl.attribute(RTA_GATEWAY, route.gateway.packed)
    if route.source is not None:
        body += rtnl.attribute(RTA_PREFSRC, route.source.packed)
    numbers = ((RTA_OIF, route.index), (RTA_PRIORITY, route.priority), (RTA_TABLE, route.table))
    body += b"".join(rtnl.u32(kind, value) for kind, value in numbers if value)
    metrics = [rtnl.u32(kind, value) for kind, value in ((RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)) if value]
    return body + (rtnl.nested(RTA_METRICS, *metrics) if metrics else b"")


def decode(body: bytes) -> Route:
    """A route from an RTM_NEWROUTE message; of a multipath route only what all paths share."""
    family, prefix, _, _, table, protocol, scope, kind, _ = MESSAGE.unpack_from(body)
    found = rtnl.attributes(body, MESSAGE.size)
    metrics = rtnl.attributes(found.get(RTA_METRICS, b""))

    def address(kind: int) -> IPAddress | None:
        return ipaddress.ip_address(found[kind]) if kind in found else None

    destination = found.get(RTA_DST, bytes(4 if family == AF_INET else 16))
    return Route(
        destination=ipaddress.ip_network((destination, prefix)),
        gateway=address(RTA_GATEWAY),
        index=rtnl.number(found.get(RTA_OIF, b"")),
        table=rtnl.number(found[RTA_TABLE]) if RTA_TABLE in found else table,
        priority=rtnl.number(found.get(RTA_PRIORITY, b"")),
        scope=scope,
        mtu=rtnl.number(metrics.get(RTAX_MTU, b"")),
        advmss=rtnl.number(metrics.get(RTAX_ADVMSS, b"")),
        source=address(RTA_PREFSRC),
        type=kind,
        protocol=protocol,
    )


def add(socket: Socket, route: Route, interface: str) -> None:
    """Add a route beside others to the same destination; exactly the same one already there is success."""
    socket.perform(adding(route, interface))


def adding(route: Route, interface: str) -> Request:
    there = (errno.EEXIST,)
    return Request(rtnl.RTM_NEWROUTE, encode(route), f"add route {route} through", interface, rtnl.CREATE, there)


def delete(socket: Socket, route: Route, interface: str) -> None:
    """Delete a route; that it is gone already is success."""
    socket.perform(deleting(route, interface))


def deleting(route: Route, interface: str) -> Request:
    gone = (errno.ESRCH,)
    return Request(rtnl.RTM_DELROUTE, encode(route), f"delete route {route} through", interface, tolerated=gone)


def dump(socket: Socket, version: int) -> list[Route]:
    """The routes of every table; `version` is 4 or 6."""
    body = MESSAGE.pack(AF_INET if version == 4 else AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0)
    return [decode(answer) for answer in socket.dump(rtnl.RTM_GETROUTE, body, "list routes")]
