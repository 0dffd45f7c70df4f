"""Messages of nfnetlink, the netlink family of nftables and conntrack, and a socket for them.

Sources: linux/netfilter/nfnetlink.h, netlink(7). A message is a netlink header, `struct nfgenmsg` and attributes;
numbers inside the attributes are big-endian.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cni_provision.net import rtnl

GENERIC = struct.Struct("!BBH")  # family, version, resource
NFTABLES, CONNTRACK = 10, 1
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_BATCH_GENERATION = 1
_NETLINK_NETFILTER = 12
_RECEIVE = 1 << 18


class NfnetlinkError(OSError):
    """The kernel refused a request: `errno`, and the `operation` that was asked for."""

    def __init__(self, code: int, operation: str) -> None:
        super().__init__(code, os.strerror(code))
        self.operation = operation

    def __str__(self) -> str:
        return f"cannot {self.operation}: {self.strerror}"


@dataclass(frozen=True)
class Message:
    """`kind` is subsystem << 8 | type; `operation` says in an error what was asked for."""

    kind: int
    payload: bytes
    flags: int = 0
    family: int = 0
    operation: str = ""

    def encode(self, sequence: int, flags: int = 0, *, resource: int = 0) -> bytes:
        body = GENERIC.pack(self.family, 0, resource) + self.payload
        flags |= self.flags | rtnl.NLM_F_REQUEST
        return rtnl.HEADER.pack(rtnl.HEADER.size + len(body), self.kind, flags, sequence, 0) + body


def number(kind: int, value: int) -> bytes:
    return rtnl.attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


class Socket:
    """An nfnetlink socket of the network namespace in which it was made; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.setsockopt(rtnl.SOL_NETLINK, rtnl.NETLINK_CAP_ACK, 1)
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, message: Message) -> list[bytes]:
        """The attributes of each reply. `NfnetlinkError` if the kernel says no (`ENOENT`: there is none)."""
        return self._converse(message, rtnl.NLM_F_ACK)

    def dump(self, message: Message) -> list[bytes]:
        """The attributes of every entry, asked for again (`EINTR` at last) while changes interrupt the listing."""
        for attempt in range(rtnl.DUMP_ATTEMPTS):
            try:
                return self._converse(message, rtnl.NLM_F_DUMP)
            except NfnetlinkError as error:
                if error.errno != errno.EINTR or attempt + 1 == rtnl.DUMP_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def batch(self, messages: Sequence[Message], generation: int | None = None) -> None:
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
        self._raise_first_error({first + 1 + index: message.operation for index, message in enumerate(messages)})

    def _raise_first_error(self, operations: Mapping[int, str]) -> None:
        """The kernel works inside send(): every answer is there when it returns, and none means success."""
        found: rtnl.Message | None = None
        while True:
            try:
                data = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # more refusals than fit; the first ones are still there
                    continue
                raise
            found = found or next((each for each in rtnl.messages(data) if rtnl.acknowledgement(each)[0]), None)
        if found:
            code, _ = rtnl.acknowledgement(found)
            raise NfnetlinkError(code, operations.get(found.sequence, "change nftables"))

    def _converse(self, message: Message, flags: int) -> list[bytes]:
        self._sequence += 1
        self._socket.send(message.encode(self._sequence, flags))
        answers: list[bytes] = []
        interrupted = 0
        for reply in self._received():
            interrupted |= reply.flags & rtnl.NLM_F_DUMP_INTR
            if reply.kind not in (rtnl.NLMSG_ERROR, rtnl.NLMSG_DONE):
                answers.append(reply.body[GENERIC.size :])
                continue
            code, _ = rtnl.acknowledgement(reply)
            if code or interrupted:
                raise NfnetlinkError(code or errno.EINTR, message.operation)
            break
        return answers

    def _received(self) -> Iterator[rtnl.Message]:
        """The answers to the present request; late ones of an abandoned request are dropped."""
        while True:
            for message in rtnl.messages(self._socket.recv(_RECEIVE)):
                if message.sequence == self._sequence:
                    yield message
