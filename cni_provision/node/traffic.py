"""Real packets from inside a network namespace: a listener, a connection, an echo request.

Sockets stay in the namespace in which they were opened, so that nothing else needs to enter it.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cni_provision.net import netns

GREETING = b"cni-provision\n"
PAUSE = 0.05  # seconds between tries while a link or an IPv6 address settles
# protocol, request type, reply type
ECHO = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}


def family_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def open_socket(namespace: int | None, address: str, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of `address`'s family inside `namespace` (a descriptor; None = the node's own)."""
    family = socket.AF_INET6 if family_of(address) == 6 else socket.AF_INET
    if namespace is None:
        return socket.socket(family, kind, protocol)
    with netns.inside(namespace):
        return socket.socket(family, kind, protocol)


@contextmanager
def listener(namespace: int, address: str, port: int) -> Iterator[None]:
    """Answers every TCP connection to `port` on any address of the namespace with `GREETING`."""
    with open_socket(namespace, address, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("::" if family_of(address) == 6 else "0.0.0.0", port))
        server.listen(64)
        thread = threading.Thread(target=greet, args=(server,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def greet(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(1)
            try:
                connection.sendall(GREETING)
            except OSError:
                continue


def connect(namespace: int | None, address: str, port: int, *, within: float) -> float:
    """Milliseconds of a TCP connection that was greeted; raises `OSError` when none was `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        began = time.monotonic()
        try:
            greeted(namespace, address, port, seconds=max(PAUSE, min(1.0, deadline - began)))
            return (time.monotonic() - began) * 1000
        except OSError:
            if time.monotonic() + PAUSE > deadline:
                raise
            time.sleep(PAUSE)


def greeted(namespace: int | None, address: str, port: int, *, seconds: float) -> None:
    with open_socket(namespace, address, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        client.connect((address, port))
        if client.recv(len(GREETING), socket.MSG_WAITALL) != GREETING:
            raise OSError(f"somebody else answers at {address} port {port}")


def echo(namespace: int | None, address: str, *, within: float) -> float:
    """Milliseconds of an ICMP echo (RFC 792, RFC 4443); raises `OSError` without an answer `within` seconds."""
    version = family_of(address)
    protocol, request, _ = ECHO[version]
    identity = os.urandom(2)
    packet = echo_packet(request, identity, checksummed=version == 4)
    deadline = time.monotonic() + within
    with open_socket(namespace, address, socket.SOCK_RAW, protocol) as raw:
        while time.monotonic() < deadline:
            began = time.monotonic()
            try:
                raw.sendto(packet, (address, 0))
                if echoed(raw, version, identity, until=min(began + 0.5, deadline)):
                    return (time.monotonic() - began) * 1000
            except OSError:
                time.sleep(PAUSE)
    raise TimeoutError(f"{address} does not answer an echo request within {within:g} s")


def echoed(raw: socket.socket, version: int, identity: bytes, *, until: float) -> bool:
    """Whether our own echo reply arrives before `until` (monotonic seconds)."""
    while (rest := until - time.monotonic()) > 0:
        raw.settimeout(rest)
        try:
            packet = raw.recv(2048)
        except socket.timeout:
            return False
        # an IPv4 raw socket hands over the IP header as well (raw(7))
        body = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
        if body[0] == ECHO[version][2] and body[4:6] == identity:
            return True
    return False


def echo_packet(request: int, identity: bytes, *, checksummed: bool) -> bytes:
    """An echo request; the kernel fills in the checksum for ICMPv6 only."""
    body = struct.pack(">BBH2sH", request, 0, 0, identity, 1) + GREETING
    total = sum(struct.unpack(f">{len(body) // 2}H", body)) if checksummed else 0
    total = (total >> 16) + (total & 0xFFFF)
    return body[:2] + struct.pack(">H", (~(total + (total >> 16)) & 0xFFFF) if checksummed else 0) + body[4:]
