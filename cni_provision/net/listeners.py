"""Programs that listen on a port of this host (sock_diag(7)), and who they are."""

from __future__ import annotations

import _socket as socket
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Optional, Union

from cni_provision.net import rtnl, sysctl

Address = Union[IPv4Address, IPv6Address]

SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
TCP, UDP = 6, 17
STATES = {TCP: 1 << 10, UDP: 1 << 7}  # listening; bound and not connected
FAMILIES = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
REQUEST = struct.Struct("=BBBxI2s2s16s16sIII")  # struct inet_diag_req_v2
ANSWER = struct.Struct("=BBBB2s2s16s16sIIIIIIII")  # struct inet_diag_msg: family, …, port, …, address, …, user, inode


@dataclass(frozen=True)
class Listener:
    """`address` None: all of the host's."""

    protocol: int
    port: int
    address: Optional[Address]
    inode: int

    @property
    def local(self) -> bool:
        return self.address is not None and self.address.is_loopback


def listening(protocol: int, port: int) -> list[Listener]:
    """Nothing for a protocol that the kernel does not tell of, and for UDP of ports that clients get for a moment."""
    if protocol not in STATES or (protocol == UDP and port in passing_ports()):
        return []
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG)
    try:
        return [one for version in FAMILIES for one in _dump(asked, version, protocol, port)]
    finally:
        asked.close()


def _dump(asked: socket.socket, version: int, protocol: int, port: int) -> Iterator[Listener]:
    body = REQUEST.pack(
        FAMILIES[version], protocol, 0, STATES[protocol], struct.pack("!H", port), bytes(2), bytes(16), bytes(16),
        0, 0xFFFFFFFF, 0xFFFFFFFF,
    )  # fmt: skip
    flags = rtnl.NLM_F_REQUEST | rtnl.NLM_F_DUMP
    asked.send(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, flags, version, 0) + body)
    while True:
        for message in rtnl.messages(asked.recv(rtnl.RECEIVE)):
            if message.kind in (rtnl.NLMSG_DONE, rtnl.NLMSG_ERROR):
                code, said = rtnl.acknowledgement(message)
                if code not in (0, errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL):  # no module that would tell
                    raise rtnl.NetlinkError(code, f"ask who listens on port {port}", "", said)
                return
            found = decode(message.body, protocol)
            if found.port == port:
                yield found


def decode(body: bytes, protocol: int) -> Listener:
    family, _, _, _, port, _, address, *_, inode = ANSWER.unpack_from(body)
    found = ip_address(address[:4] if family == FAMILIES[4] else address)
    number = int(struct.unpack("!H", port)[0])
    return Listener(protocol, number, None if found.is_unspecified else found, inode)


def passing_ports() -> range:
    first, last = map(int, sysctl.read("net/ipv4/ip_local_port_range").split())
    return range(first, last + 1)


def program_of(inode: int) -> str:
    """`name` and `pid` of a process that has the socket; empty where none is seen."""
    wanted = f"socket:[{inode}]"
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            descriptors = os.listdir(f"/proc/{process}/fd")
            if any(_link(f"/proc/{process}/fd/{one}") == wanted for one in descriptors):
                with open(f"/proc/{process}/comm", encoding="utf-8") as file:
                    return f"{file.read().strip()} (process {process})"
        except OSError:
            continue
    return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
