"""Messages of nfnetlink, the netlink family of nftables and conntrack, and a socket for them.

Sources: linux/netfilter/nfnetlink.h, netlink(7). A message is a netlink header, `struct nfgenmsg` and attributes;
numbers inside the attributes are big-endian.

Closing such a socket waits until everything that anybody has deleted from nftables in that namespace is freed
(13–16 ms), and holds up every other change meanwhile (`nft_rcv_nl_event` in the kernel). So a thread keeps its own.
"""

from __future__ import annotations

import _socket as socket  # `socket` makes enumerations: 3 ms
import _thread  # `threading` takes one
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cni_provision.net import netns, rtnl

GENERIC = struct.Struct("!BBH")  # family, version, resource
NFTABLES, CONNTRACK = 10, 1
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_BATCH_GENERATION = 1
_NETLINK_NETFILTER = 12
_RECEIVE = 1 << 18


class NfnetlinkError(OSError):
    """The kernel refused a request: `errno`, the `operation` that was asked for, and what the kernel says to it."""

    def __init__(self, code: int, operation: str, kernel_message: str = "") -> None:
        super().__init__(code, os.strerror(code))
        self.operation = operation
        self.kernel_message = kernel_message

    def __str__(self) -> str:
        why = f" ({self.kernel_message})" if self.kernel_message else ""
        return f"cannot {self.operation}: {self.strerror}{why}"


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
    """An nfnetlink socket of the network namespace in which it was made, for `with` or until its owner goes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        for option in (rtnl.NETLINK_CAP_ACK, rtnl.NETLINK_EXT_ACK):
            self._socket.setsockopt(rtnl.SOL_NETLINK, option, 1)
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def __del__(self) -> None:
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
        refusal = self._first_error(range(first, self._sequence + 1))
        if refusal:
            index = refusal.sequence - first
            code, said = rtnl.acknowledgement(refusal, parts[index])
            operation = messages[index - 1].operation if 0 < index <= len(messages) else "change nftables"
            raise NfnetlinkError(code, operation, said)

    def _first_error(self, sequences: range) -> rtnl.Message | None:
        """The kernel works inside send(): every answer is there when it returns, and none means success."""
        found: rtnl.Message | None = None
        while True:
            try:
                data = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # more refusals than fit; the first ones are still there
                    continue
                raise
            ours = (each for each in rtnl.messages(data) if each.sequence in sequences)
            found = found or next((each for each in ours if rtnl.acknowledgement(each)[0]), None)

    def _converse(self, message: Message, flags: int) -> list[bytes]:
        self._sequence += 1
        sent = message.encode(self._sequence, flags)
        self._socket.send(sent)
        answers: list[bytes] = []
        interrupted = 0
        for reply in self._received():
            interrupted |= reply.flags & rtnl.NLM_F_DUMP_INTR
            if reply.kind not in (rtnl.NLMSG_ERROR, rtnl.NLMSG_DONE):
                answers.append(reply.body[GENERIC.size :])
                continue
            code, said = rtnl.acknowledgement(reply, sent)
            if code or interrupted:
                raise NfnetlinkError(code or errno.EINTR, message.operation, said)
            break
        return answers

    def _received(self) -> Iterator[rtnl.Message]:
        """The answers to the present request; late ones of an abandoned request are dropped."""
        while True:
            for message in rtnl.messages(self._socket.recv(_RECEIVE)):
                if message.sequence == self._sequence:
                    yield message


class _Kept(_thread._local):
    """What a thread keeps: at most one socket, and the namespace that it belongs to, by device and inode."""

    socket: Socket | None = None
    namespace: tuple[int, int] = (0, 0)


_kept = _Kept()


@contextmanager
def borrowed() -> Iterator[Socket]:
    """This thread's socket of the present network namespace; a second one for whoever asks inside.

    What fails in the middle of a conversation may leave the rest of it in the socket, so that one is given up.
    """
    own = os.stat(netns.OWN)
    namespace = own.st_dev, own.st_ino
    found, _kept.socket = _kept.socket, None
    if found is None or _kept.namespace != namespace:
        found = Socket()
    yield found
    if _kept.socket is None:
        _kept.socket, _kept.namespace = found, namespace
