"""What plugin and daemon say to each other: a line of JSON each way over a Unix socket.

The reference's two speak Go's own format on the same path; what meets the other's says so.
"""

from __future__ import annotations

import _socket as socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cni_provision.cni import jsontext

SOCKET = "/run/cni/dhcp.sock"
LARGEST = 1 << 20
FOREIGN = b"CONNECT "
TO_FOREIGN = b"HTTP/1.0 400 this daemon speaks with the dhcp plugin of cni-provision only\r\n\r\n"


class NoDaemon(OSError):
    """Nobody listens there, or it is somebody else's daemon."""


@dataclass(frozen=True)
class Interface:
    """Whose lease it is. `identity` is the namespace's device and inode: a path may name another one by now."""

    network: str
    container_id: str
    ifname: str
    netns: str = ""
    identity: tuple[int, int] = (0, 0)

    @property
    def client(self) -> str:
        """The name by which servers know it, cut as the reference cuts it."""
        return f"{self.container_id}/{self.network}/{self.ifname}"[:254]


def ask(path: str, question: Mapping[str, Any], seconds: float) -> Any:
    """The daemon's answer; `NoDaemon`, or OSError where it ends in between."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
        except OSError as error:
            raise NoDaemon(error.errno, f"error dialing DHCP daemon at `{path}`: {error.strerror}") from error
        connection.sendall(jsontext.encode(dict(question)).encode() + b"\n")
        found = read(connection, path)
        connection.sendall(b"\n")  # without it the daemon takes back what it has given
        return found
    finally:
        connection.close()


def read(connection: socket.socket, path: str) -> Any:
    """One line as a value."""
    line = read_line(connection)
    if line.startswith(b"HTTP/"):
        raise NoDaemon(0, f"the DHCP daemon at `{path}` is another's: start the one of this plugin (`dhcp daemon`)")
    try:
        return jsontext.Decoder(float, float).decode(line.decode())
    except ValueError as error:
        raise OSError(0, f"the DHCP daemon at `{path}` ended without an answer") from error


def read_line(connection: socket.socket) -> bytes:
    """With its end, unless the other side ends before."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LARGEST:
        part = connection.recv(65536)
        if not part:
            break
        line += part
    return line
