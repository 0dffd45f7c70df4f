"""Calls over D-Bus whose arguments are texts (D-Bus specification: authentication, message protocol)."""

from __future__ import annotations

import _socket as socket
import errno
import os
import struct
from typing import Union

from cni_provision.net.errors import NetError

SYSTEM_BUS = "/run/dbus/system_bus_socket"
SECONDS = 10.0
CALL, RETURN, ERROR = 1, 2, 3
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 4, 5, 6, 8
FIXED = struct.Struct("<cBBBIII")  # byte order, type, flags, version, body, serial, length of the fields
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")

Value = Union[str, int, None]


class BusError(NetError):
    """No bus (`ENOENT`, `ECONNREFUSED`), no answer in time, or an error that was answered (`EREMOTEIO`)."""


class Bus:
    """A connection to the system's bus, for `with`."""

    def __init__(self, path: str = SYSTEM_BUS) -> None:
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SECONDS)
        try:
            self._socket.connect(path)
            self._authenticate()
            self.call(*BUS, "Hello")
        except BusError:
            self._socket.close()
            raise
        except OSError as error:
            self._socket.close()
            raise BusError(error.errno or errno.ETIMEDOUT, f"no D-Bus at `{path}`: {error}") from error

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def knows(self, name: str) -> bool:
        """Whether somebody has that name on the bus; nobody is started for it."""
        return bool(self.call(*BUS, "NameHasOwner", name))

    def call(self, destination: str, path: str, interface: str, member: str, *texts: str) -> Value:
        """The first value of the answer, if it is a text, a number or a truth value."""
        self._serial += 1
        fields = [(PATH, "o", path), (INTERFACE, "s", interface), (MEMBER, "s", member)]
        fields.append((DESTINATION, "s", destination))
        try:
            self._socket.sendall(encode(self._serial, fields, texts))
            kind, headers, body = self._answer()
        except OSError as error:
            raise BusError(error.errno or errno.ETIMEDOUT, f"`{interface}.{member}` over D-Bus: {error}") from error
        found = first_value(str(headers.get(SIGNATURE, "")), body)
        if kind == ERROR:
            raise BusError(errno.EREMOTEIO, f"`{interface}.{member}`: {found or headers.get(ERROR_NAME)}")
        return found

    def _authenticate(self) -> None:
        identity = str(os.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + identity + b"\r\n")
        answer = self._socket.recv(1024)
        if not answer.startswith(b"OK"):
            raise BusError(errno.EACCES, f"D-Bus does not let us in: {answer.decode('ascii', 'replace').strip()}")
        self._socket.sendall(b"BEGIN\r\n")

    def _answer(self) -> tuple[int, dict[int, Value], bytes]:
        """(type, header fields, body) of the answer to the last call; signals come between."""
        while True:
            _, kind, _, _, body, _, fields = FIXED.unpack(self._exactly(FIXED.size))
            rest = self._exactly(_padded(fields, 8) + body)
            headers = decode_fields(rest[:fields])
            if kind in (RETURN, ERROR) and headers.get(REPLY_SERIAL) == self._serial:
                return kind, headers, rest[_padded(fields, 8) :]

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "the bus ended the connection")
            data += part
        return data


def encode(serial: int, fields: list[tuple[int, str, str]], texts: tuple[str, ...]) -> bytes:
    """A call; all arguments are texts."""
    body = b""
    for one in texts:
        body += bytes(-len(body) % 4) + _text(one)
    headers = b""
    for code, kind, value in fields:
        headers += bytes(-len(headers) % 8) + bytes((code, 1)) + kind.encode() + b"\0" + _text(value)
    if texts:
        signature = b"s" * len(texts)
        headers += (
            bytes(-len(headers) % 8) + bytes((SIGNATURE, 1)) + b"g\0" + bytes((len(texts),)) + signature + b"\0"
        )
    head = FIXED.pack(b"l", CALL, 0, 1, len(body), serial, len(headers))
    return head + headers + bytes(-len(headers) % 8) + body


def decode_fields(data: bytes) -> dict[int, Value]:
    """Header fields by code; the bus writes little-endian to who does so."""
    found: dict[int, Value] = {}
    at = 0
    while at + 4 <= len(data):
        code, length = data[at], data[at + 1]
        kind = data[at + 2 : at + 2 + length].decode()
        at = _padded(at + 3 + length, 1 if kind == "g" else 4)
        if kind == "g":
            found[code] = data[at + 1 : at + 1 + data[at]].decode()
            at += data[at] + 2
        else:
            found[code] = first_value(kind, data[at:])
            at += 4 if kind == "u" else 5 + int(struct.unpack_from("<I", data, at)[0])
        at = _padded(at, 8)
    return found


def first_value(signature: str, body: bytes) -> Value:
    kind = signature[:1]
    if kind in ("s", "o"):
        (length,) = struct.unpack_from("<I", body)
        return body[4 : 4 + length].decode("utf-8", "replace")
    return int(struct.unpack_from("<I", body)[0]) if kind and kind in "ubi" else None


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<I", len(encoded)) + encoded + b"\0"


def _padded(length: int, to: int) -> int:
    return length + -length % to
