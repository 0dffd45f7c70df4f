"""Network interfaces over rtnetlink: find, make, change, delete (`include/uapi/linux/if_link.h`).

`creating`, `finding`, `changing` and `deleting` are the `rtnl.Request`s of the functions named alike, to be performed
together with others. A `Link` is a snapshot: a plugin asks once, and again only for what the kernel may have changed.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

from cni_provision.net import rtnl
from cni_provision.net.rtnl import NetlinkError, Request, Socket

INFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, device type, index, flags, mask of changed flags
IFF_UP, IFF_LOOPBACK, IFF_PROMISC, IFF_ALLMULTI = 0x1, 0x8, 0x100, 0x200
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_TXQLEN, IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_IFALIAS = 13, 16, 18, 20
IFLA_NET_NS_FD, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 28, 29, 37
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BR_VLAN_FILTERING, IFLA_VLAN_ID, VETH_INFO_PEER = 7, 1, 1
IFLA_MACVLAN_MODE, IFLA_MACVLAN_BC_QUEUE_LEN, IFLA_IPVLAN_MODE = 1, 7, 1
SHOWN = frozenset(
    (
        IFLA_ADDRESS,
        IFLA_IFNAME,
        IFLA_MTU,
        IFLA_LINK,
        IFLA_MASTER,
        IFLA_TXQLEN,
        IFLA_OPERSTATE,
        IFLA_LINKINFO,
        IFLA_IFALIAS,
    )
)
RTEXT_FILTER_SKIP_STATS = 8
OPERSTATE_UP = 6
IMPOSSIBLE_MTU = 0xFFFFFFFF
NO_LINK = INFO.pack(0, 0, 0, 0, 0)
WITHOUT_STATISTICS = rtnl.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)


@dataclass(frozen=True)
class Link:
    """One interface as the kernel shows it. `parent`: the veth's peer, or the lower device, by index in its own
    namespace. `data` and `port` are the raw attributes of its kind and of its role as a port of `master`; they are
    decoded when somebody asks (a bridge has a hundred: 0.03 ms)."""

    index: int
    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    flags: int = 0
    operstate: int = 0
    master: int = 0
    parent: int = 0
    alias: str = ""
    tx_queue: int = 0
    info: bytes = field(default=b"", repr=False)  # IFLA_LINKINFO

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def promiscuous(self) -> bool:
        return bool(self.flags & IFF_PROMISC)

    @property
    def all_multicast(self) -> bool:
        return bool(self.flags & IFF_ALLMULTI)

    @property
    def data(self) -> dict[int, bytes]:
        return self._info(IFLA_INFO_DATA)

    @property
    def port(self) -> dict[int, bytes]:
        return self._info(IFLA_INFO_SLAVE_DATA)

    def _info(self, kind: int) -> dict[int, bytes]:
        return rtnl.attributes(rtnl.attributes(self.info).get(kind, b""))


@dataclass(frozen=True)
class Settings:
    """What to give to a new link, or to change on one; None leaves it alone.

    Links are named by index: `master` the bridge or vrf to join, `parent` the lower device. `queues`: of each
    direction, of a new link only.
    """

    name: Optional[str] = None
    mac: Optional[str] = None
    mtu: Optional[int] = None
    master: Optional[int] = None
    parent: Optional[int] = None
    parent_nsid: Optional[int] = None  # where it is, as `nsid` numbers it; None: where the new link is
    alias: Optional[str] = None
    tx_queue: Optional[int] = None
    queues: Optional[int] = None
    netns_fd: Optional[int] = None
    up: Optional[bool] = None
    promiscuous: Optional[bool] = None
    all_multicast: Optional[bool] = None

    def encode(self, index: int = 0) -> bytes:
        """`struct ifinfomsg` and its attributes."""
        flags = mask = 0
        switches = ((IFF_UP, self.up), (IFF_PROMISC, self.promiscuous), (IFF_ALLMULTI, self.all_multicast))
        for bit, wanted in switches:
            mask |= bit if wanted is not None else 0
            flags |= bit if wanted else 0
        return INFO.pack(0, 0, index, flags, mask) + b"".join(self._attributes())

    def _attributes(self) -> Iterator[bytes]:
        if self.name is not None:
            yield rtnl.text(IFLA_IFNAME, self.name)
        if self.mac is not None:
            yield rtnl.attribute(IFLA_ADDRESS, mac_bytes(self.mac))
        if self.alias is not None:
            yield rtnl.text(IFLA_IFALIAS, self.alias)
        numbers = (
            (IFLA_MTU, self.mtu), (IFLA_MASTER, self.master), (IFLA_LINK, self.parent),
            (IFLA_TXQLEN, self.tx_queue), (IFLA_NET_NS_FD, self.netns_fd), (IFLA_LINK_NETNSID, self.parent_nsid),
            (IFLA_NUM_TX_QUEUES, self.queues), (IFLA_NUM_RX_QUEUES, self.queues),
        )  # fmt: skip
        yield from (rtnl.u32(kind, value) for kind, value in numbers if value is not None)


@dataclass(frozen=True)
class Kind:
    """A type of link that can be made, with the attributes of that type."""

    name: str
    data: bytes = b""

    def encode(self) -> bytes:
        """IFLA_LINKINFO."""
        members = [rtnl.text(IFLA_INFO_KIND, self.name)]
        if self.data:
            members.append(rtnl.nested(IFLA_INFO_DATA, self.data))
        return rtnl.nested(IFLA_LINKINFO, *members)


def bridge(*, vlan_filtering: bool = False) -> Kind:
    return Kind("bridge", rtnl.u8(IFLA_BR_VLAN_FILTERING, 1) if vlan_filtering else b"")


def veth(peer: Settings) -> Kind:
    return Kind("veth", rtnl.nested(VETH_INFO_PEER, peer.encode()))


def dummy() -> Kind:
    return Kind("dummy")


def vlan(vid: int) -> Kind:
    return Kind("vlan", rtnl.u16(IFLA_VLAN_ID, vid))


def macvlan(mode: int, broadcast_queue: int | None = None) -> Kind:
    """`mode`: 1 private, 2 vepa, 4 bridge, 8 passthru."""
    queue = rtnl.u32(IFLA_MACVLAN_BC_QUEUE_LEN, broadcast_queue) if broadcast_queue is not None else b""
    return Kind("macvlan", rtnl.u32(IFLA_MACVLAN_MODE, mode) + queue)


def ipvlan(mode: int) -> Kind:
    """`mode`: 0 l2, 1 l3, 2 l3s."""
    return Kind("ipvlan", rtnl.u16(IFLA_IPVLAN_MODE, mode))


def decode(body: bytes) -> Link:
    """A link from an RTM_NEWLINK message."""
    _, _, index, flags, _ = INFO.unpack_from(body)
    value, number, string = rtnl.attributes(body, INFO.size, SHOWN).get, rtnl.number, rtnl.string
    info = value(IFLA_LINKINFO, b"")
    return Link(
        index=index,
        name=string(value(IFLA_IFNAME, b"")),
        kind=string(rtnl.attributes(info).get(IFLA_INFO_KIND, b"")),
        mac=mac_text(value(IFLA_ADDRESS, b"")),
        mtu=number(value(IFLA_MTU, b"")),
        flags=flags,
        operstate=number(value(IFLA_OPERSTATE, b"")),
        master=number(value(IFLA_MASTER, b"")),
        parent=number(value(IFLA_LINK, b"")),
        alias=string(value(IFLA_IFALIAS, b"")),
        tx_queue=number(value(IFLA_TXQLEN, b"")),
        info=info,
    )


def find(socket: Socket, name: str) -> Link | None:
    try:
        return get(socket, name)
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def get(socket: Socket, name: str) -> Link:
    """The link of that name; NetlinkError ENODEV when there is none."""
    return decode(socket.ask(finding(name)))


def get_all(socket: Socket, *names: str) -> list[Link]:
    """As `get`, for several in one round trip."""
    return [decode(answer) for answer in socket.ask_all(*map(finding, names))]


def find_index(socket: Socket, index: int) -> Link | None:
    try:
        return by_index(socket, index)
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def by_index(socket: Socket, index: int) -> Link:
    """The link of that number; NetlinkError ENODEV when there is none."""
    body = INFO.pack(0, 0, index, 0, 0) + WITHOUT_STATISTICS
    return decode(socket.ask(Request(rtnl.RTM_GETLINK, body, "find interface", f"#{index}")))


def finding(name: str) -> Request:
    body = NO_LINK + rtnl.text(IFLA_IFNAME, name) + WITHOUT_STATISTICS
    return Request(rtnl.RTM_GETLINK, body, "find interface", name)


def dump(socket: Socket) -> list[Link]:
    body = NO_LINK + WITHOUT_STATISTICS
    return [decode(answer) for answer in socket.dump(rtnl.RTM_GETLINK, body, "list interfaces")]


def create(socket: Socket, kind: Kind, settings: Settings) -> None:
    """Make a link; NetlinkError EEXIST when a name is taken, EOPNOTSUPP when the kernel has no such kind."""
    socket.perform(creating(kind, settings))


def creating(kind: Kind, settings: Settings) -> Request:
    body, flags = settings.encode() + kind.encode(), rtnl.CREATE | rtnl.EXCLUSIVE
    return Request(rtnl.RTM_NEWLINK, body, f"make {kind.name} interface", settings.name or "", flags)


def change(socket: Socket, link: Link, settings: Settings) -> None:
    socket.perform(changing(link, settings))


def changing(link: Link, settings: Settings) -> Request:
    return Request(rtnl.RTM_SETLINK, settings.encode(link.index), "change interface", link.name)


def delete(socket: Socket, link: Link) -> None:
    """Delete a link; that it is gone already is success."""
    socket.perform(deleting(link))


def deleting(link: Link) -> Request:
    body = INFO.pack(0, 0, link.index, 0, 0)
    return Request(rtnl.RTM_DELLINK, body, "delete interface", link.name, tolerated=(errno.ENODEV,))


def supported(socket: Socket, kind: str) -> bool:
    """Whether this kernel can make links of that kind (it loads the module if it has one); nothing is made.

    A request with an MTU that no device can have is refused for the MTU only after the kind was found.
    """
    try:
        create(socket, Kind(kind), Settings(mtu=IMPOSSIBLE_MTU))
    except NetlinkError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise
        return error.errno != errno.EOPNOTSUPP
    raise AssertionError(f"the kernel made a {kind} interface with an impossible MTU")


def wait_until_operational(socket: Socket, name: str, seconds: float) -> Link:
    """The link once its operational state is up, or as it is when the time is over."""
    end, pause = time.monotonic() + seconds, 0.001
    while True:
        link = get(socket, name)
        if link.operstate == OPERSTATE_UP or time.monotonic() >= end:
            return link
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", "").replace("-", ""))


def mac_text(mac: bytes) -> str:
    return mac.hex(":")
