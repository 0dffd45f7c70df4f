"""Interfaces of kind vrf, and what an interface loses when it becomes a port of one (`networking/vrf.rst`)."""

from __future__ import annotations

import errno
from dataclasses import replace

from cni_provision.net import address, link, route, rtnl
from cni_provision.net.errors import NetError
from cni_provision.net.link import Kind, Link, Settings
from cni_provision.net.route import Route
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

KIND = "vrf"
IFLA_VRF_TABLE = 1
RTPROT_KERNEL = 2
LAST_TABLE = 2**32 - 1


def table_of(vrf: Link) -> int:
    return rtnl.number(vrf.data.get(IFLA_VRF_TABLE, b""))


def ports(links: list[Link], vrf: Link) -> list[Link]:
    return [one for one in links if one.master == vrf.index]


def free_table(links: list[Link]) -> int:
    """The first from 1 on that no other vrf has; NetError ENOSPC where all are taken."""
    taken = {table_of(one) for one in links if one.kind == KIND}
    found = next((number for number in range(1, LAST_TABLE) if number not in taken), None)
    if found is None:
        raise NetError(errno.ENOSPC, "every routing table belongs to a vrf")
    return found


def ensure(inside: Socket, name: str, table: int, undo: Undo) -> Link:
    """The vrf of that name, up; `table` 0: whatever it has, or a free one.

    NetError EEXIST when the name belongs to something else, or to a vrf with another table.
    """
    links = link.dump(inside)
    found = next((one for one in links if one.name == name), None)
    if found is None:
        kind = Kind(KIND, rtnl.u32(IFLA_VRF_TABLE, table or free_table(links)))
        link.create(inside, kind, Settings(name=name, up=True))
        found = link.get(inside, name)
        undo.later(link.delete, inside, found)
    if found.kind != KIND:
        raise NetError(errno.EEXIST, f"`{name}` is no vrf but `{found.kind}`")
    if table not in (0, table_of(found)):
        raise NetError(errno.EEXIST, f"VRF {name} already exist with different routing table {table_of(found)}")
    return found


def join(inside: Socket, own: Link, vrf: Link, undo: Undo) -> None:
    """Make `own` a port. It goes down and up with that: IPv6 addresses may go, and the routes that somebody made."""
    kept = [one.interface for one in address.dump(inside, own) if not one.scope and one.interface.version == 6]
    ways = routes_of(inside, own)
    undo.later(restore, inside, own, ways)
    link.change(inside, own, Settings(master=vrf.index))
    present = {one.interface for one in address.dump(inside, own)}
    lost = [one for one in kept if one not in present]
    inside.perform(*(address.adding(own, one, address.IFA_F_NODAD) for one in lost))
    inside.perform(*(route.adding(one, own.name) for one in moved(ways, table_of(vrf))))


def routes_of(inside: Socket, own: Link) -> list[Route]:
    """Those in the main table that are not the kernel's own, neighbours first, because gateways are among them."""
    found = [one for version in (4, 6) for one in route.dump(inside, version)]
    mine = [one for one in found if (one.table, one.index) == (route.RT_TABLE_MAIN, own.index)]
    return sorted((one for one in mine if one.protocol != RTPROT_KERNEL), key=lambda one: one.gateway is not None)


def moved(ways: list[Route], table: int) -> list[Route]:
    return [replace(one, table=table) for one in ways]


def restore(inside: Socket, own: Link, ways: list[Route]) -> None:
    leave(inside, own)
    inside.perform(*(route.adding(one, own.name) for one in ways))


def leave(inside: Socket, own: Link) -> None:
    link.change(inside, own, Settings(master=0))
