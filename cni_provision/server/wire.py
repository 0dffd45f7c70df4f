"""What goes over the socket: the greeting, then frames of type (one byte), length (32 bits, little-endian), payload.

server    `cni-provision 1 ready <build>\\n`, or `cni-provision 1 cold <reason>\\n` and the end
launcher  R  plugin NUL, each `NAME=VALUE` NUL, NUL, stdin; the descriptor of CNI_NETNS where it could be opened
server    E  path NUL, CNI_COMMAND NUL, stdin: execute this delegate in my place
launcher  X  exit code (int32, negative: a signal), length of stdout, stdout, stderr
server    A  exit code (a byte), length of stdout, stdout, stderr
launcher  K  the answer has been passed on
"""

from __future__ import annotations

import _socket
import array
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from cni_provision.cni.outcome import Outcome

VERSION = 1
LARGEST = (16 << 20) + (64 << 10)
REQUEST, EXECUTE, EXECUTED, ANSWER, ACKNOWLEDGE = b"R", b"E", b"X", b"A", b"K"
NOT_EXECUTED, PRINTED_TOO_MUCH = 256, -256
MIDWAY_SECONDS = 10.0  # the patience with a frame that has begun, and with a reader

_HEAD = struct.Struct("<cI")
_RESULT, _LENGTH = struct.Struct("<iI"), struct.Struct("<I")
_CHUNK = 1 << 16
_NOW = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_TIME = struct.Struct("@ll")  # struct timeval
_DESCRIPTORS = socket.CMSG_SPACE(array.array("i").itemsize)


class Broken(Exception):
    """The other end hung up, or does not speak as it should: what it wanted cannot be known any more."""


class Silent(Exception):
    """Nothing came in the time given; what came before is kept."""


@dataclass(frozen=True)
class Request:
    """What a launcher wants: `plugin` as it was called, its CNI variables, its stdin."""

    plugin: str
    environment: Mapping[str, str]
    stdin: bytes


def greeting(word: str, rest: str) -> bytes:
    return f"cni-provision {VERSION} {word} {rest}\n".encode()


def frame(kind: bytes, payload: bytes) -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


def decode_request(payload: bytes) -> Request:
    """Raises `Broken`."""
    head, found, stdin = payload.partition(b"\0\0")
    plugin, *variables = os.fsdecode(head).split("\0")
    pairs = [each.partition("=") for each in variables]
    if not found or not plugin or not all(separator for _, separator, _ in pairs):
        raise Broken("a request that is none")
    return Request(plugin, {name: value for name, _, value in pairs}, stdin)


def encode_request(request: Request) -> bytes:
    """The inverse: what a launcher sends."""
    variables = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in request.environment.items())
    return os.fsencode(request.plugin) + b"\0" + variables + b"\0" + request.stdin


def encode_execute(path: str, command: str, stdin: bytes) -> bytes:
    return os.fsencode(path) + b"\0" + command.encode() + b"\0" + stdin


def decode_executed(payload: bytes) -> Outcome:
    """Raises `Broken`."""
    if len(payload) < _RESULT.size:
        raise Broken("an outcome that is none")
    code, length = _RESULT.unpack_from(payload)
    rest = payload[_RESULT.size :]
    return Outcome(code, rest[:length], rest[length:].decode("utf-8", "replace"))


def encode_answer(outcome: Outcome) -> bytes:
    stderr = outcome.stderr.encode("utf-8", "replace")
    return bytes((outcome.code & 0xFF,)) + _LENGTH.pack(len(outcome.stdout)) + outcome.stdout + stderr


class Connection:
    """One end of a conversation, for one thread at a time; `stream` blocks.

    Descriptors that arrive are closed, or in `netns_fd`.
    """

    def __init__(self, stream: _socket.socket) -> None:
        self.netns_fd = -1
        self._stream = stream
        self._patience: Optional[float] = None
        self._received = bytearray()

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        """Idempotent."""
        self._stream.close()
        if self.netns_fd >= 0:
            os.close(self.netns_fd)
            self.netns_fd = -1

    def send(self, kind: bytes, payload: bytes) -> None:
        """Raises `Broken` where nobody reads."""
        data = frame(kind, payload)
        try:
            sent = self._send_now(data)
            if sent < len(data):
                self._wait(socket.SO_SNDTIMEO, MIDWAY_SECONDS)
                self._stream.sendall(data[sent:], socket.MSG_NOSIGNAL)
        except OSError as error:
            raise Broken(f"hung up: {error}") from error

    def _send_now(self, data: bytes) -> int:
        try:
            return self._stream.send(data, _NOW)
        except BlockingIOError:
            return 0

    def receive(self, kind: bytes, seconds: Optional[float]) -> bytes:
        """The payload of the next frame, which is of that kind.

        Raises `Silent` where it has not begun in that time (None: no limit), else `Broken`.
        """
        while len(self._received) < _HEAD.size:
            self._more(MIDWAY_SECONDS if self._received else seconds)
        came, length = _HEAD.unpack_from(self._received)
        if came != kind or length > LARGEST:
            raise Broken(f"a frame {came!r} of {length} bytes")
        end = _HEAD.size + length
        while len(self._received) < end:
            self._more(MIDWAY_SECONDS)
        payload = bytes(memoryview(self._received)[_HEAD.size : end])
        del self._received[:end]
        return payload

    def _more(self, seconds: Optional[float]) -> None:
        if seconds != self._patience:
            self._wait(socket.SO_RCVTIMEO, seconds)
            self._patience = seconds
        try:
            data, control, _, _ = self._stream.recvmsg(_CHUNK, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError as error:
            raise (Broken("stopped midway") if self._received else Silent()) from error
        except OSError as error:
            raise Broken(f"hung up: {error}") from error
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._take(content)
        if not data:
            raise Broken("hung up")
        self._received += data

    def _wait(self, option: int, seconds: Optional[float]) -> None:
        """For so long, None: for ever. The kernel's own timeout: Python's takes two more calls of it each time."""
        whole, part = divmod(seconds or 0.0, 1)
        self._stream.setsockopt(socket.SOL_SOCKET, option, _TIME.pack(int(whole), int(part * 1e6)))

    def _take(self, content: bytes) -> None:
        """Keep the first descriptor that ever comes."""
        found = array.array("i")
        found.frombytes(content[: len(content) - len(content) % found.itemsize])
        for descriptor in found:
            if self.netns_fd < 0:
                self.netns_fd = descriptor
            else:
                os.close(descriptor)
