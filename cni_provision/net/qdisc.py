"""Queueing disciplines and their classes over rtnetlink: what paces the packets that leave an interface (tc(8)).

Rates are bytes a second, bursts and limits bytes, times ticks of 64 ns. Source: `include/uapi/linux/pkt_sched.h`.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Optional

from cni_provision.net import rtnl
from cni_provision.net.link import Link
from cni_provision.net.rtnl import NetlinkError, Request, Socket

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC, RTM_NEWTCLASS, RTM_GETTCLASS = 36, 37, 38, 40, 42
NLM_F_ECHO = 0x8  # older kernels answer a question about one only so
MESSAGE = struct.Struct("=BxxxiIII")  # struct tcmsg: family, interface, handle, parent, info
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64 = 1, 4
TCA_HTB_PARMS, TCA_HTB_INIT, TCA_HTB_DIRECT_QLEN, TCA_HTB_RATE64, TCA_HTB_CEIL64 = 1, 2, 5, 6, 7
ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
RATE = struct.Struct("=BBHhHI")  # struct tc_ratespec: …, rate
TBF = struct.Struct("=12s12sIII")  # struct tc_tbf_qopt: rate, peak rate, limit, burst in ticks, MTU
HTB = struct.Struct("=IIIII")  # struct tc_htb_glob: version, bytes a second for a byte of quantum, default class, …
HTB_CLASS = struct.Struct("=12s12sIIIII")  # struct tc_htb_opt: rate, ceiling, bursts of both, quantum, level, …
HTB_VERSION, HTB_RATE_TO_QUANTUM, HTB_QUANTUM = 3, 10, 10000
TICKS_PER_MICROSECOND = 1000 / 64  # PSCHED_SHIFT in the kernel
LATENCY = 0.025  # seconds that a packet may wait
U32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Shape:
    """A limit for traffic, in bytes a second and bytes."""

    rate: int
    burst: int

    @property
    def ticks(self) -> int:
        """The time in which the burst passes at this rate."""
        return min(int(self._microseconds * TICKS_PER_MICROSECOND), U32)

    @property
    def wrapped_ticks(self) -> int:
        """What the reference makes of it where that is too much for 32 bits."""
        return int((self._microseconds & U32) * TICKS_PER_MICROSECOND) & U32

    @property
    def limit(self) -> int:
        """Of the bytes that wait."""
        return min(int(self.rate * LATENCY) + self.burst, U32)

    @property
    def _microseconds(self) -> int:
        return int(self.burst * 1e6 / self.rate)


@dataclass(frozen=True)
class Qdisc:
    """One of an interface, with the raw options of its kind."""

    kind: str
    handle: int
    parent: int
    options: bytes = b""

    def encode(self, index: int) -> bytes:
        """`struct tcmsg` and its attributes."""
        body = MESSAGE.pack(0, index, self.handle, self.parent, 0) + rtnl.text(TCA_KIND, self.kind)
        return body + (rtnl.attribute(TCA_OPTIONS, self.options) if self.options else b"")


def handle(major: int, minor: int = 0) -> int:
    return major << 16 | minor


def tbf(shape: Shape) -> Qdisc:
    """A token bucket for everything."""
    parameters = TBF.pack(_rate(shape.rate), bytes(RATE.size), shape.limit, shape.ticks, 0)
    options = rtnl.attribute(TCA_TBF_PARMS, parameters) + _exactly(shape.rate, TCA_TBF_RATE64)
    return Qdisc("tbf", handle(1), ROOT, options)


def ingress() -> Qdisc:
    """What filters of arriving packets stand on."""
    return Qdisc("ingress", handle(0xFFFF), INGRESS)


def htb(default: int, queue: int) -> Qdisc:
    """Token buckets in classes. `default`: the minor number of the class for what no filter knows, 0 for no limit;
    `queue`: how many packets without a limit may wait."""
    parameters = HTB.pack(HTB_VERSION, HTB_RATE_TO_QUANTUM, default, 0, 0)
    options = rtnl.attribute(TCA_HTB_INIT, parameters) + rtnl.u32(TCA_HTB_DIRECT_QLEN, queue)
    return Qdisc("htb", handle(1), ROOT, options)


def htb_class(minor: int, shape: Shape) -> Qdisc:
    rate = _rate(shape.rate)
    parameters = HTB_CLASS.pack(rate, rate, shape.ticks, shape.ticks, HTB_QUANTUM, 0, 0)
    exactly = _exactly(shape.rate, TCA_HTB_RATE64, TCA_HTB_CEIL64)
    return Qdisc("htb", handle(1, minor), handle(1), rtnl.attribute(TCA_HTB_PARMS, parameters) + exactly)


def queue(minor: int, limit: int) -> Qdisc:
    """The queue of a class; it would take none where the interface has a transmit queue of length 0."""
    return Qdisc("bfifo", handle(2), handle(1, minor), struct.pack("=I", limit))


def _rate(rate: int) -> bytes:
    return RATE.pack(0, 0, 0, 0, 0, min(rate, U32))


def _exactly(rate: int, *kinds: int) -> bytes:
    """A rate that does not fit into `struct tc_ratespec`."""
    return b"".join(rtnl.attribute(kind, struct.pack("=Q", rate)) for kind in kinds) if rate > U32 else b""


def decode(body: bytes) -> Qdisc:
    _, _, number, parent, _ = MESSAGE.unpack_from(body)
    found = rtnl.attributes(body[MESSAGE.size :])
    return Qdisc(rtnl.string(found.get(TCA_KIND, b"")), number, parent, found.get(TCA_OPTIONS, b""))


def described(found: Qdisc) -> tuple[int, int, int]:
    """(rate, ticks, limit) of a token bucket or a class, which has no limit of its own: 0."""
    options = rtnl.attributes(found.options)
    if found.kind == "htb":
        rate, _, ticks, *_ = HTB_CLASS.unpack_from(options[TCA_HTB_PARMS])
        exactly, limit = options.get(TCA_HTB_RATE64, b""), 0
    else:
        rate, _, limit, ticks, _ = TBF.unpack_from(options[TCA_TBF_PARMS])
        exactly = options.get(TCA_TBF_RATE64, b"")
    return rtnl.number(exactly) or RATE.unpack(rate)[-1], ticks, limit


def adding(link: Link, wanted: Qdisc) -> Request:
    flags = rtnl.CREATE | rtnl.EXCLUSIVE
    return Request(RTM_NEWQDISC, wanted.encode(link.index), f"add {wanted.kind} to interface", link.name, flags)


def adding_class(link: Link, wanted: Qdisc) -> Request:
    flags = rtnl.CREATE | rtnl.EXCLUSIVE
    return Request(RTM_NEWTCLASS, wanted.encode(link.index), "add a class to interface", link.name, flags)


def deleting(link: Link, parent: int) -> Request:
    """That there is none but the kernel's own is success."""
    body, tolerated = MESSAGE.pack(0, link.index, 0, parent, 0), (errno.ENOENT, errno.EINVAL, errno.ENODEV)
    return Request(RTM_DELQDISC, body, "delete the queue of interface", link.name, 0, tolerated)


def find(socket: Socket, link: Link, parent: int) -> Optional[Qdisc]:
    """The one that an interface has at ROOT or INGRESS; None where it has the kernel's own at most."""
    return _ask(socket, link, RTM_GETQDISC, MESSAGE.pack(0, link.index, 0, parent, 0))


def find_class(socket: Socket, link: Link, number: int) -> Optional[Qdisc]:
    return _ask(socket, link, RTM_GETTCLASS, MESSAGE.pack(0, link.index, number, 0, 0))


def _ask(socket: Socket, link: Link, kind: int, body: bytes) -> Optional[Qdisc]:
    try:
        answers = socket.request(kind, body, "find the queue of interface", link.name, flags=NLM_F_ECHO)
    except NetlinkError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):  # there is nothing that could have classes
            return None
        raise
    found = next(map(decode, answers), None)  # of the kernel's own one there is no answer, or one without handle
    return found if found and found.handle else None
