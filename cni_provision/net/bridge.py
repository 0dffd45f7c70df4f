"""Ports of a bridge and their VLANs (`include/uapi/linux/if_bridge.h`, bridge(8))."""

from __future__ import annotations

import errno
import struct
from _socket import AF_BRIDGE
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cni_provision.net import container, link, rtnl
from cni_provision.net.errors import NetError
from cni_provision.net.link import IFLA_BR_VLAN_FILTERING, IFLA_EXT_MASK, INFO, Link, Settings
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

IFLA_PROTINFO, IFLA_AF_SPEC = 12, 26
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
IFLA_BRIDGE_FLAGS, IFLA_BRIDGE_VLAN_INFO = 0, 2
FLAGS_MASTER, FLAGS_SELF = 1, 2
VLAN_INFO = struct.Struct("=HH")  # flags, VLAN id
PVID, UNTAGGED, RANGE_BEGIN, RANGE_END = 0x2, 0x4, 0x8, 0x10
RTEXT_FILTER_BRVLAN = 2
DEFAULT_VLAN = 1


@dataclass(frozen=True, order=True)
class Vlan:
    """Membership of a port in one VLAN; `native`: frames without a tag belong to it and leave without one."""

    vid: int
    native: bool = False


def filters_vlans(bridge: Link) -> bool:
    return rtnl.number(bridge.data.get(IFLA_BR_VLAN_FILTERING, b"")) == 1


def is_hairpin(port: Link) -> bool:
    """Whether frames may leave by the port that they came from."""
    return rtnl.number(port.port.get(IFLA_BRPORT_MODE, b"")) == 1


def is_isolated(port: Link) -> bool:
    """Whether the port talks only to ports that are not isolated."""
    return rtnl.number(port.port.get(IFLA_BRPORT_ISOLATED, b"")) == 1


def encode_port(index: int, *, hairpin: bool, isolated: bool) -> bytes:
    flags = rtnl.u8(IFLA_BRPORT_MODE, int(hairpin)) + rtnl.u8(IFLA_BRPORT_ISOLATED, int(isolated))
    return INFO.pack(AF_BRIDGE, 0, index, 0, 0) + rtnl.nested(IFLA_PROTINFO, flags)


def set_port(socket: Socket, port: Link, *, hairpin: bool, isolated: bool) -> None:
    body = encode_port(port.index, hairpin=hairpin, isolated=isolated)
    socket.request(rtnl.RTM_SETLINK, body, "set hairpin mode and isolation of bridge port", port.name)


def encode_vlans(index: int, vids: Iterable[int], *, native: bool = False, itself: bool = False) -> bytes:
    """`itself`: the bridge as an end point, not a port of it."""
    flags = PVID | UNTAGGED if native else 0
    entries = [rtnl.u16(IFLA_BRIDGE_FLAGS, FLAGS_SELF)] if itself else []
    for first, last in ranges(vids):
        ends = ((0, first),) if first == last else ((RANGE_BEGIN, first), (RANGE_END, last))
        entries += [rtnl.attribute(IFLA_BRIDGE_VLAN_INFO, VLAN_INFO.pack(flags | end, vid)) for end, vid in ends]
    return INFO.pack(AF_BRIDGE, 0, index, 0, 0) + rtnl.nested(IFLA_AF_SPEC, *entries)


def add_vlans(socket: Socket, port: Link, vids: Iterable[int], *, native: bool = False, itself: bool = False) -> None:
    """Let a port carry VLANs, with tags unless `native` (then exactly one)."""
    body = encode_vlans(port.index, vids, native=native, itself=itself)
    socket.request(rtnl.RTM_SETLINK, body, "add VLANs to bridge port", port.name)


def delete_vlan(socket: Socket, port: Link, vid: int) -> None:
    """Take a VLAN off a port; that it is not there is success."""
    body = encode_vlans(port.index, [vid])
    with rtnl.tolerating(errno.ENOENT, errno.ENODEV):
        socket.request(rtnl.RTM_DELLINK, body, f"delete VLAN {vid} of bridge port", port.name)


def vlans(socket: Socket, port: Link) -> frozenset[Vlan]:
    """The VLANs of a port."""
    body = INFO.pack(AF_BRIDGE, 0, 0, 0, 0) + rtnl.u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN)
    for answer in socket.dump(rtnl.RTM_GETLINK, body, "list VLANs of bridge ports"):
        if INFO.unpack_from(answer)[2] == port.index:
            return decode_vlans(answer)
    return frozenset()


def decode_vlans(body: bytes) -> frozenset[Vlan]:
    """The VLANs of a RTM_NEWLINK message of family AF_BRIDGE, ranges spelled out."""
    specification = rtnl.attributes(body[INFO.size :]).get(IFLA_AF_SPEC, b"")
    found: set[Vlan] = set()
    first = 0
    for kind, value in rtnl.attribute_pairs(specification):
        if kind != IFLA_BRIDGE_VLAN_INFO:
            continue
        flags, vid = VLAN_INFO.unpack_from(value)
        if flags & RANGE_BEGIN:
            first = vid
            continue
        start = first if flags & RANGE_END else vid
        found.update(Vlan(one, native=bool(flags & PVID)) for one in range(start, vid + 1))
    return frozenset(found)


def ensure(socket: Socket, name: str, *, mtu: int | None, promiscuous: bool, vlan_filtering: bool) -> Link:
    """A bridge of that name, up. Several may make it at once; one that is there keeps its VLAN filtering and MTU.

    NetError EEXIST when the name belongs to another kind of interface.
    """
    found = link.find(socket, name)
    if found is None:
        with rtnl.tolerating(errno.EEXIST):
            link.create(socket, link.bridge(vlan_filtering=vlan_filtering), Settings(name=name, mtu=mtu))
        found = link.get(socket, name)
    if found.kind != "bridge":
        raise NetError(errno.EEXIST, f'"{name}" already exists but is not a bridge')
    if not found.up or (promiscuous and not found.promiscuous):
        link.change(socket, found, Settings(up=True, promiscuous=promiscuous or None))
    return found


def join(socket: Socket, port: Link, wanted: Collection[Vlan], *, keep_default: bool = False) -> None:
    """Put a port into VLANs, and without `keep_default` out of VLAN 1, where every port begins."""
    if wanted and not keep_default:
        delete_vlan(socket, port, DEFAULT_VLAN)
    for native in (True, False):
        vids = [vlan.vid for vlan in wanted if vlan.native == native]
        if vids:
            add_vlans(socket, port, vids, native=native)


def in_vlan(name: str, vid: int) -> str:
    """The name of the interface that stands for a bridge in one of its VLANs."""
    return f"{name}.{vid}"


def ensure_in_vlan(socket: Socket, bridge: Link, vid: int, undo: Undo) -> Link:
    """`<bridge>.<vid>`, up: one end of a pair on the host whose other end is a port of that VLAN."""
    name = in_vlan(bridge.name, vid)
    found = link.find(socket, name)
    if found:
        return found
    add_vlans(socket, bridge, [vid], itself=True)
    outer = Settings(mtu=bridge.mtu, master=bridge.index)
    pair = container.connect(socket, socket, Settings(name=name, mtu=bridge.mtu), outer)
    undo.later(link.delete, socket, pair.outer)
    join(socket, pair.outer, {Vlan(vid, native=True)})
    for one in (pair.outer, pair.inner):
        link.change(socket, one, Settings(up=True))
    return pair.inner


def port_differences(
    socket: Socket, bridge: Link, port: Link, *, hairpin: bool, isolated: bool, expected: Collection[Vlan]
) -> list[str]:
    """What is not as expected of a port, as sentences; other VLANs than the expected are no fault."""
    if port.master != bridge.index:
        return [f"`{port.name}` is no port of `{bridge.name}`"]
    modes = (
        ("hairpin mode", is_hairpin(port), hairpin),
        ("isolation", is_isolated(port), isolated),
    )
    wrong = [f"{name} of `{port.name}` is {'on' if on else 'off'}" for name, on, wanted in modes if on != wanted]
    if expected and not filters_vlans(bridge):
        wrong.append(f"`{bridge.name}` does not filter VLANs")
    absent = sorted(set(expected) - vlans(socket, port)) if expected else []
    return wrong + [f"`{port.name}` is not in VLAN {vlan.vid}" for vlan in absent]


def ranges(vids: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers put together: 7, 1, 2, 3 → (1, 3), (7, 7)."""
    result: list[tuple[int, int]] = []
    for vid in sorted(set(vids)):
        if result and result[-1][1] == vid - 1:
            result[-1] = (result[-1][0], vid)
        else:
            result.append((vid, vid))
    return result
