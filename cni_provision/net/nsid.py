"""Numbers by which one network namespace knows another (ip-netns(8), `include/uapi/linux/net_namespace.h`)."""

from __future__ import annotations

import errno
import os
import struct

from cni_provision.net import netns, rtnl
from cni_provision.net.rtnl import Request, Socket

RTM_NEWNSID, RTM_GETNSID = 88, 90
NETNSA_NSID, NETNSA_FD = 1, 3
MESSAGE = bytes(4)  # struct rtgenmsg: any family
CHOOSE = 0xFFFFFFFF  # -1: the kernel shall


def encode(netns_fd: int) -> bytes:
    return MESSAGE + rtnl.u32(NETNSA_FD, netns_fd)


def decode(body: bytes) -> int:
    """The number; -1 where there is none."""
    number: int = struct.unpack("=i", rtnl.attributes(body[len(MESSAGE) :])[NETNSA_NSID])[0]
    return number


def of_this(inside: Socket) -> int:
    """The number by which the namespace of a socket knows that of this thread; given if it has none yet."""
    own = os.open(netns.OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        body, what = encode(own), "number the host's network namespace"
        numbering = Request(RTM_NEWNSID, body + rtnl.u32(NETNSA_NSID, CHOOSE), what, tolerated=(errno.EEXIST,))
        (answer,) = inside.perform(numbering, Request(RTM_GETNSID, body, "find the host's network namespace"))
    finally:
        os.close(own)
    return decode(answer)
