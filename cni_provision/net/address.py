"""Addresses of interfaces over rtnetlink (`include/uapi/linux/if_addr.h`)."""

from __future__ import annotations

import errno
import struct
import time
from _socket import AF_INET, AF_INET6
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Union

from cni_provision.net import rtnl
from cni_provision.net.errors import NetError
from cni_provision.net.link import Link
from cni_provision.net.rtnl import Request, Socket

IPInterface = Union[IPv4Interface, IPv6Interface]

MESSAGE = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface index
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x02, 0x08, 0x40
DAD_POLL = 0.02  # seconds


@dataclass(frozen=True)
class Address:
    """One address of one link; `index` is the link's."""

    interface: IPInterface
    index: int
    flags: int = 0
    scope: int = 0

    @property
    def tentative(self) -> bool:
        return bool(self.flags & IFA_F_TENTATIVE)

    @property
    def duplicate(self) -> bool:
        """Duplicate address detection found it on another host."""
        return bool(self.flags & IFA_F_DADFAILED)


def encode(interface: IPInterface, index: int, flags: int = 0) -> bytes:
    """`struct ifaddrmsg` and its attributes; IPv4 gets its broadcast address as `ip addr add … brd +` gives it."""
    own, prefix = interface.packed, interface.network.prefixlen
    family = AF_INET if interface.version == 4 else AF_INET6
    body = MESSAGE.pack(family, prefix, flags, 0, index)
    body += rtnl.attribute(IFA_LOCAL, own) + rtnl.attribute(IFA_ADDRESS, own)
    if interface.version == 4 and prefix < 31:
        # not `network.broadcast_address`: each new address object costs 2 µs
        body += rtnl.attribute(IFA_BROADCAST, (int(interface) | 0xFFFFFFFF >> prefix).to_bytes(4, "big"))
    return body


def decode(body: bytes) -> Address:
    """An address from an RTM_NEWADDR message; the local end where the link is point-to-point."""
    family, prefix, flags, scope, index = MESSAGE.unpack_from(body)
    found = rtnl.attributes(body, MESSAGE.size)
    kind = IPv4Interface if family == AF_INET else IPv6Interface
    packed = found.get(IFA_LOCAL) or found[IFA_ADDRESS]
    flags = rtnl.number(found[IFA_FLAGS]) if IFA_FLAGS in found else flags
    return Address(kind((packed, prefix)), index, flags, scope)


def add(socket: Socket, link: Link, interface: IPInterface, flags: int = 0) -> None:
    """Give a link an address; NetlinkError EEXIST when it has it."""
    socket.perform(adding(link, interface, flags))


def adding(link: Link, interface: IPInterface, flags: int = 0) -> Request:
    body, new = encode(interface, link.index, flags), rtnl.CREATE | rtnl.EXCLUSIVE
    return Request(rtnl.RTM_NEWADDR, body, f"add address {interface} to", link.name, new)


def delete(socket: Socket, link: Link, interface: IPInterface) -> None:
    """Take an address off a link; that it is gone already is success."""
    socket.perform(deleting(link, interface))


def deleting(link: Link, interface: IPInterface) -> Request:
    body, gone = encode(interface, link.index), (errno.EADDRNOTAVAIL, errno.ENODEV)
    return Request(rtnl.RTM_DELADDR, body, f"delete address {interface} of", link.name, tolerated=gone)


def ensure(socket: Socket, link: Link, wanted: Collection[IPInterface], *, replace: bool) -> bool:
    """Give a link addresses for gateways, usable at once; True when it did not have them all.

    NetError EADDRINUSE when it has others that cannot stay beside them, unless `replace` takes those off.
    """
    present = {one.interface for one in dump(socket, link)}
    others = conflicting(present, wanted)
    if others and not replace:
        texts = [", ".join(sorted(map(str, some))) for some in (wanted, others)]
        problem = '"{}" already has an IP address different from {}: {}'.format(link.name, *texts)
        raise NetError(errno.EADDRINUSE, problem)
    for other in others:
        delete(socket, link, other)
    new = [one for one in wanted if one not in present]
    socket.perform(*(adding(link, one, IFA_F_NODAD)._replace(tolerated=(errno.EEXIST,)) for one in new))
    return bool(new)


def conflicting(present: Collection[IPInterface], wanted: Collection[IPInterface]) -> set[IPInterface]:
    """Addresses that cannot stay beside the wanted: any other of IPv4, of IPv6 those whose subnets overlap."""
    return {
        other
        for other in present
        for one in wanted
        if other not in wanted and other.version == one.version and overlap(other, one)
    }


def overlap(one: IPInterface, other: IPInterface) -> bool:
    return one.version == 4 or one.ip in other.network or other.ip in one.network


def dump(socket: Socket, link: Link) -> list[Address]:
    """The addresses of one link, of both families."""
    body = MESSAGE.pack(0, 0, 0, 0, link.index)
    found = (decode(answer) for answer in socket.dump(rtnl.RTM_GETADDR, body, f"list addresses of `{link.name}`"))
    return [address for address in found if address.index == link.index]


def wait_until_usable(socket: Socket, link: Link, seconds: float) -> None:
    """Until duplicate address detection has passed for each IPv6 address of a link.

    NetError EADDRINUSE names an address that another host has, ETIMEDOUT those that are not decided in time.
    """
    end = time.monotonic() + seconds
    while True:
        addresses = [one for one in dump(socket, link) if one.interface.version == 6]
        duplicates = [one for one in addresses if one.duplicate]
        if duplicates:
            raise NetError(errno.EADDRINUSE, f"another host on the link of `{link.name}` has {texts(duplicates)}")
        pending = [one for one in addresses if one.tentative]
        if not pending:
            return
        if time.monotonic() >= end:
            raise NetError(errno.ETIMEDOUT, f"no answer about duplicates of {texts(pending)} on `{link.name}`")
        time.sleep(DAD_POLL)


def texts(addresses: list[Address]) -> str:
    return ", ".join(str(one.interface) for one in addresses)
