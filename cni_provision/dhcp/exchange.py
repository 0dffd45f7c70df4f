"""Messages of DHCP sent and awaited on one interface, also while it has no address (packet(7))."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import time
from collections.abc import Collection
from ipaddress import IPv4Address
from typing import Optional

from cni_provision.dhcp import packet
from cni_provision.dhcp.packet import Packet
from cni_provision.net import netns

CLIENT_PORT, SERVER_PORT, PROTOCOL_UDP = 68, 67, 17
ETHERTYPE_IP = 0x0800
EVERYBODY, EVERY_MAC = IPv4Address("255.255.255.255"), b"\xff" * 6
IP = struct.Struct("!BBHHHBBH4s4s")
UDP = struct.Struct("!HHHH")
LARGEST = 65535
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 16.0  # seconds until a message is sent again


class Exchange:
    """The sockets of one interface in its namespace, for `with`."""

    def __init__(self, netns_fd: Optional[int], ifname: str) -> None:
        with netns.inside(netns_fd):
            self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._raw.bind((ifname, ETHERTYPE_IP))
            self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ifname.encode())
            self._udp.bind(("", CLIENT_PORT))  # answers to an address that we have are not refused then
        except OSError:
            self.close()
            raise
        self._ifname = ifname

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._raw.close()
        self._udp.close()

    def broadcast(self, message: Packet) -> None:
        to = (self._ifname, ETHERTYPE_IP, 0, 0, EVERY_MAC)
        self._raw.sendto(framed(message.encode(), message.own, EVERYBODY), to)

    def unicast(self, message: Packet, server: IPv4Address) -> None:
        """To a server, from the interface's address; as a frame to everybody where it has none any more."""
        try:
            self._udp.sendto(message.encode(), (str(server), SERVER_PORT))
        except OSError:
            to = (self._ifname, ETHERTYPE_IP, 0, 0, EVERY_MAC)
            self._raw.sendto(framed(message.encode(), message.own, server), to)

    def ask(
        self, message: Packet, kinds: Collection[int], seconds: float, server: Optional[IPv4Address] = None
    ) -> Optional[Packet]:
        """The first answer of these kinds; None where none comes in that time. Sent again with growing pauses."""
        end, pause = time.monotonic() + seconds, FIRST_PAUSE
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            if server:
                self.unicast(message, server)
            else:
                self.broadcast(message)
            found = self._await(message, kinds, min(left, pause * random.uniform(0.75, 1.25)))
            if found:
                return found
            pause = min(pause * 2, LONGEST_PAUSE)

    def _await(self, sent: Packet, kinds: Collection[int], seconds: float) -> Optional[Packet]:
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._raw], [], [], left)[0]:
                return None
            found = answer(self._raw.recv(LARGEST))
            ours = found and (found.transaction, found.mac) == (sent.transaction, sent.mac)
            if found and ours and found.operation == packet.ANSWER and found.kind in kinds:
                return found


def new_transaction() -> int:
    return int.from_bytes(os.urandom(4), "big")


def framed(data: bytes, source: IPv4Address, destination: IPv4Address) -> bytes:
    """With headers of IP and UDP; UDP's checksum may be left out with IPv4."""
    datagram = UDP.pack(CLIENT_PORT, SERVER_PORT, UDP.size + len(data), 0) + data
    fields = (0x45, 0, IP.size + len(datagram), 0, 0, 64, PROTOCOL_UDP)
    sum_of_none = IP.pack(*fields, 0, source.packed, destination.packed)
    return IP.pack(*fields, checksum(sum_of_none), source.packed, destination.packed) + datagram


def answer(data: bytes) -> Optional[Packet]:
    """The message in a packet of IP; None where it is something else."""
    if len(data) < IP.size or data[0] >> 4 != 4 or data[9] != PROTOCOL_UDP:
        return None
    start, end = (data[0] & 15) * 4, int.from_bytes(data[2:4], "big")
    fragment = int.from_bytes(data[6:8], "big") & 0x3FFF
    if fragment or len(data) < start + UDP.size or UDP.unpack_from(data, start)[1] != CLIENT_PORT:
        return None
    try:
        return packet.decode(data[start + UDP.size : end])
    except ValueError:
        return None


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
