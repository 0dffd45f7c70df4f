"""Messages of nfnetlink, the netlink family of nftables and conntrack, and a socket for them.

Sources: linux/netfilter/nfnetlink.h, netlink(7). A message is a header (`struct nlmsghdr`), `struct nfgenmsg`
and attributes; numbers inside nfnetlink attributes are big-endian.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
GENERIC = struct.Struct("!BBH")  # family, version, resource
ATTRIBUTE = struct.Struct("=HH")  # length, type

REQUEST, ACK, DUMP, EXCLUSIVE, CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
INTERRUPTED = 0x10
NESTED = 0x8000
_ERROR, _DONE, _BATCH_BEGIN, _BATCH_END = 0x2, 0x3, 0x10, 0x11
_BATCH_GENERATION = 1
_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
NFTABLES, CONNTRACK = 10, 1


class NfnetlinkError(OSError):
    """The kernel refused a request: `errno`, and the `operation` that was asked for."""

    def __init__(self, number: int, operation: str) -> None:
        super().__init__(number, f"{operation}: {os.strerror(number)}")
        self.operation = operation


@dataclass(frozen=True)
class Message:
    """`kind` is subsystem << 8 | type; `operation` says in an error what was asked for."""

    kind: int
    payload: bytes
    flags: int = 0
    family: int = 0
    operation: str = ""

    def encode(self, sequence: int, *, resource: int = 0) -> bytes:
        body = GENERIC.pack(self.family, 0, resource) + self.payload
        return HEADER.pack(HEADER.size + len(body), self.kind, self.flags | REQUEST, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute in `data`; the flags of the type are taken off."""
    position = 0
    while position + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, position)
        if length < ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[position + ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3


def table_of(data: bytes) -> Mapping[int, bytes]:
    return dict(attributes(data))


@dataclass(frozen=True)
class _Reply:
    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def error(self) -> int:
        return -int(struct.unpack_from("=i", self.payload)[0]) if self.kind == _ERROR else 0


def _replies(data: bytes) -> Iterator[_Reply]:
    position = 0
    while position + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, position)
        yield _Reply(kind, flags, sequence, data[position + HEADER.size : position + length])
        position += (length + 3) & ~3


class Socket:
    """An nfnetlink socket of the network namespace in which it was made; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, message: Message) -> list[bytes]:
        """The attributes of each reply. `NfnetlinkError` if the kernel says no (`ENOENT`: there is none)."""
        self._sequence += 1
        self._socket.send(_with_ack(message).encode(self._sequence))
        return [reply.payload[GENERIC.size :] for reply in self._until_done(message)]

    def batch(self, messages: Sequence[Message], generation: Optional[int] = None) -> None:
        """All messages as one transaction: either all of them hold, or none and `NfnetlinkError`.

        With `generation`, the kernel answers `ERESTART` if anybody has changed the rules since it was read.
        """
        first = self._sequence + 1
        self._sequence += len(messages) + 2
        guard = number(_BATCH_GENERATION, generation) if generation is not None else b""
        parts = [Message(_BATCH_BEGIN, guard).encode(first, resource=NFTABLES)]
        parts += [message.encode(first + 1 + index) for index, message in enumerate(messages)]
        parts.append(Message(_BATCH_END, b"").encode(self._sequence, resource=NFTABLES))
        self._socket.send(b"".join(parts))
        operations = {first + 1 + index: message.operation for index, message in enumerate(messages)}
        self._raise_first_error(operations)

    def _raise_first_error(self, operations: Mapping[int, str]) -> None:
        """The kernel works inside send(): every answer is there when it returns, and none means success."""
        found: Optional[_Reply] = None
        while True:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            found = found or next((reply for reply in _replies(data) if reply.error), None)
        if found:
            raise NfnetlinkError(found.error, operations.get(found.sequence, "change nftables"))

    def _until_done(self, message: Message) -> Iterator[_Reply]:
        while True:
            for reply in _replies(self._socket.recv(1 << 18)):
                if reply.sequence != self._sequence:
                    continue
                if reply.kind in (_ERROR, _DONE):
                    if reply.error:
                        raise NfnetlinkError(reply.error, message.operation)
                    return
                if reply.flags & INTERRUPTED:
                    raise NfnetlinkError(errno.EINTR, message.operation)
                yield reply


def _with_ack(message: Message) -> Message:
    flags = message.flags if message.flags & DUMP else message.flags | ACK
    return Message(message.kind, message.payload, flags, message.family, message.operation)
