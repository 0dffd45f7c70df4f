"""Rtnetlink: attributes, messages, and the socket that carries them.

Numbers and layouts: netlink(7), rtnetlink(7), `include/uapi/linux/netlink.h` and `rtnetlink.h`. What links,
addresses and routes put into a message stands in the module of that noun, which has its verbs in two forms: as a
function that does it (`address.add`), and as a `Request` (`address.adding`) that can go with others in one datagram:

    with Socket(netns_fd) as socket:
        socket.perform(address.adding(eth0, own), link.changing(eth0, Settings(up=True)), route.adding(way, "eth0"))

The kernel works a datagram off in order before `send` returns, so that one costs a round trip less for each further
request. A call makes one socket for each namespace, asks for a link once and hands it on.
"""

from __future__ import annotations

import _socket as socket  # `socket` makes enumerations: 3 ms
import errno
import os
import struct
import sys
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import NamedTuple, Union

from cni_provision.net import netns
from cni_provision.net.errors import NetError

IPAddress = Union[IPv4Address, IPv6Address]

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in acks
NLM_F_DUMP = 0x300  # in get requests
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800  # in new requests
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF
NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS = 1, 2
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
U32 = struct.Struct("=HHI")  # an attribute that is a number
CODE = struct.Struct("=i")  # at the start of an acknowledgement: the negative errno
DUMP_ATTEMPTS = 5  # a dump that changes of other parties interrupt each time is used as it is, as in the reference
RECEIVE = 1 << 16  # the kernel sends at most 32 KiB at once
PER_DATAGRAM = 50  # requests: the acknowledgements of some 250 fit into a socket's buffer


class NetlinkError(NetError):
    """The kernel refused: what was tried, on which interface, and the kernel's own explanation if it gave one."""

    def __init__(self, code: int, operation: str, interface: str = "", kernel_message: str = "") -> None:
        super().__init__(code, os.strerror(code))
        self.operation = operation
        self.interface = interface
        self.kernel_message = kernel_message

    def __str__(self) -> str:
        subject = f"{self.operation} `{self.interface}`" if self.interface else self.operation
        why = f" ({self.kernel_message})" if self.kernel_message else ""
        return f"cannot {subject}: {self.strerror}{why}"


@contextmanager
def tolerating(*codes: int) -> Iterator[None]:
    """For what somebody else may have done a moment ago: these refusals (errno) are success."""
    try:
        yield
    except NetlinkError as error:
        if error.errno not in codes:
            raise


class Message(NamedTuple):
    kind: int
    flags: int
    sequence: int
    body: bytes


class Request(NamedTuple):
    """One message to the kernel, in an error called `operation`; `tolerated` refusals (errno) are success."""

    kind: int
    body: bytes
    operation: str
    interface: str = ""
    flags: int = 0
    tolerated: tuple[int, ...] = ()

    def encode(self, sequence: int, flags: int) -> bytes:
        length = HEADER.size + len(self.body)
        return HEADER.pack(length, self.kind, self.flags | flags | NLM_F_REQUEST, sequence, 0) + self.body

    def refused(self, code: int, explanation: str) -> NetlinkError:
        return NetlinkError(code, self.operation, self.interface, explanation)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return U32.pack(U32.size, kind, value)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *members: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(members))


def number(value: bytes) -> int:
    """An unsigned integer of any width, in the byte order of this machine."""
    return int.from_bytes(value, sys.byteorder)


def string(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode(errors="replace")


def attribute_pairs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute, without the flags in the type; a truncated rest is ignored."""
    at, end = 0, len(data) - ATTRIBUTE.size
    read = ATTRIBUTE.unpack_from
    while at <= end:
        length, kind = read(data, at)
        if length < 4:
            return
        yield kind & NLA_TYPE_MASK, data[at + 4 : at + length]
        at += length + 3 & ~3


def attributes(data: bytes, start: int = 0, kinds: Container[int] | None = None) -> dict[int, bytes]:
    """Value by type; the last one of a repeated type. Only of some `kinds` where they are given: of the forty of a
    link eight are looked at, in half of the time. As `attribute_pairs`, spelled out: this is where time goes.
    """
    found = {}
    at, end = start, len(data) - ATTRIBUTE.size
    read = ATTRIBUTE.unpack_from
    while at <= end:
        length, kind = read(data, at)
        if length < 4:
            break
        if kinds is None or kind & NLA_TYPE_MASK in kinds:
            found[kind & NLA_TYPE_MASK] = data[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield Message(kind, flags, sequence, data[at + HEADER.size : at + length])
        at += length + -length % 4


def acknowledgement(message: Message, sent: bytes = b"") -> tuple[int, str]:
    """(errno or 0, the kernel's explanation) of an NLMSG_ERROR or NLMSG_DONE message.

    Where the kernel only points into the message that was `sent`, header included, the text there explains.
    """
    code = -CODE.unpack_from(message.body)[0] if len(message.body) >= CODE.size else 0
    if not message.flags & NLM_F_ACK_TLVS:
        return code, ""
    start = 4
    if message.kind == NLMSG_ERROR:
        start += HEADER.size if message.flags & NLM_F_CAPPED else HEADER.unpack_from(message.body, 4)[0]
    found = attributes(message.body[start:])
    said = string(found.get(NLMSGERR_ATTR_MSG, b""))
    return code, said or text_at(sent, number(found.get(NLMSGERR_ATTR_OFFS, b"")))


def text_at(sent: bytes, offset: int) -> str:
    """The attribute at `offset` of a message in backquotes, if it holds a text; else nothing."""
    if not HEADER.size <= offset <= len(sent) - ATTRIBUTE.size:
        return ""
    _, value = next(attribute_pairs(sent[offset:]), (0, b""))
    name = value[:-1].decode("ascii", errors="replace")
    return f"`{name}`" if value.endswith(b"\0") and name and name.isprintable() else ""


class Socket:
    """A rtnetlink socket bound in a network namespace: this one, or that of `netns_fd`. Not for two threads."""

    def __init__(self, netns_fd: int | None = None) -> None:
        with netns.inside(netns_fd):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, kind: int, body: bytes, operation: str, interface: str = "", *, flags: int = 0) -> list[bytes]:
        """Send one message, wait for its acknowledgement, return what came before it; NetlinkError on refusal."""
        return self.perform(Request(kind, body, operation, interface, flags))

    def perform(self, *requests: Request) -> list[bytes]:
        """Send them in one datagram and return the bodies of all answers; NetlinkError for the first that is refused.

        The kernel tries the others as well: what they do must fall with the one, as all that is on a link does.
        """
        answers: list[bytes] = []
        for start in range(0, len(requests), PER_DATAGRAM):
            answers += self._perform(requests[start : start + PER_DATAGRAM])
        return answers

    def ask(self, request: Request) -> bytes:
        """The one answer to a question. No acknowledgement is asked for: it would be a second datagram to receive."""
        return self.ask_all(request)[0]

    def ask_all(self, *requests: Request) -> list[bytes]:
        """As `ask`, for several in one datagram; NetlinkError for the first that has no answer."""
        sent = self._send(requests, 0)
        first = self._sequence - len(requests) + 1
        answers: list[bytes] = []
        refusals: list[NetlinkError] = []
        for message in self._received(first):
            index = message.sequence - first
            if message.kind == NLMSG_ERROR:
                refusals.append(requests[index].refused(*acknowledgement(message, sent[index])))
            answers.append(message.body)
            if message.sequence == self._sequence:
                break
        if refusals:
            raise refusals[0]
        return answers

    def dump(self, kind: int, body: bytes, operation: str) -> list[bytes]:
        """The bodies of a whole table, asked for again while changes by others interrupt it."""
        request = Request(kind, body, operation)
        answers: list[bytes] = []
        for _ in range(DUMP_ATTEMPTS):
            try:
                answers, interrupted = self._dump(request)
            except NetlinkError as error:
                if error.errno != errno.EINTR:
                    raise
                continue
            if not interrupted:
                break
        return answers

    def _perform(self, requests: Sequence[Request]) -> list[bytes]:
        sent = self._send(requests, NLM_F_ACK)
        first = self._sequence - len(requests) + 1
        answers: list[bytes] = []
        refusals: list[NetlinkError] = []
        for message in self._received(first):
            if message.kind != NLMSG_ERROR:
                answers.append(message.body)
                continue
            index = message.sequence - first
            code, explanation = acknowledgement(message, sent[index])
            if code and code not in requests[index].tolerated:
                refusals.append(requests[index].refused(code, explanation))
            if message.sequence == self._sequence:
                break
        if refusals:
            raise refusals[0]
        return answers

    def _dump(self, request: Request) -> tuple[list[bytes], bool]:
        """(bodies, whether the dump was interrupted)."""
        (sent,) = self._send([request], NLM_F_DUMP)
        answers: list[bytes] = []
        interrupted = False
        for message in self._received(self._sequence):
            interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
            if message.kind in (NLMSG_ERROR, NLMSG_DONE):
                code, explanation = acknowledgement(message, sent)
                if code:
                    raise request.refused(code, explanation)
                break
            answers.append(message.body)
        return answers, interrupted

    def _send(self, requests: Sequence[Request], flags: int) -> list[bytes]:
        first = self._sequence + 1
        self._sequence += len(requests)
        sent = [request.encode(first + index, flags) for index, request in enumerate(requests)]
        self._socket.send(b"".join(sent))
        return sent

    def _received(self, first: int) -> Iterator[Message]:
        """The answers to the requests from `first` on; late ones of an abandoned request are dropped."""
        while True:
            for message in messages(self._socket.recv(RECEIVE)):
                if first <= message.sequence <= self._sequence:
                    yield message
