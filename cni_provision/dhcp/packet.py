"""Messages of DHCPv4 as bytes (RFC 2131, RFC 2132; option 121: RFC 3442; long and overloaded options: RFC 3396).

Our own: pyroute2's client sends neither texts of the configuration as options nor a client id of our form, and nodes
have no libraries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Optional

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = 1, 2, 3, 4, 5, 6, 7
MASK, ROUTER, NAME_SERVERS, HOST_NAME, DOMAIN, STATIC_ROUTES = 1, 3, 6, 12, 15, 33
REQUESTED, LEASE_SECONDS, OVERLOAD, KIND, SERVER, WANTED = 50, 51, 52, 53, 54, 55
RENEWAL_SECONDS, REBINDING_SECONDS, VENDOR_CLASS, CLIENT_ID, USER_CLASS, CLASSLESS_ROUTES = 58, 59, 60, 61, 77, 121
PAD, END = 0, 255
FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
COOKIE = bytes((99, 130, 83, 99))
ASK, ANSWER, ETHERNET, BROADCAST = 1, 2, 1, 0x8000
SHORTEST = 300  # bytes: some relays and servers drop what is shorter (RFC 1542)
NOBODY = IPv4Address(0)
USUAL_SECONDS = 3600
FOREVER = 0xFFFFFFFF


@dataclass(frozen=True)
class Packet:
    """One message. `options` by number, their values raw; `own` is the address that the client has already."""

    operation: int
    transaction: int
    mac: bytes
    own: IPv4Address = NOBODY
    given: IPv4Address = NOBODY
    broadcast: bool = False
    options: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def kind(self) -> int:
        return int.from_bytes(self.options.get(KIND, b""), "big")

    def encode(self) -> bytes:
        flags = BROADCAST if self.broadcast else 0
        head = FIXED.pack(
            self.operation, ETHERNET, len(self.mac), 0, self.transaction, 0, flags,
            self.own.packed, self.given.packed, bytes(4), bytes(4), self.mac, b"", b"", COOKIE,
        )  # fmt: skip
        body = b"".join(_encoded(number, value) for number, value in self.options.items())
        return (head + body + bytes((END,))).ljust(SHORTEST, b"\0")


def decode(data: bytes) -> Packet:
    """ValueError where it is no message of DHCP."""
    if len(data) < FIXED.size:
        raise ValueError("shorter than a message of DHCP")
    operation, _, length, _, transaction, _, flags, own, given, _, _, mac, name, file, cookie = FIXED.unpack_from(
        data
    )
    if cookie != COOKIE or length > len(mac):
        raise ValueError("no message of DHCP")
    found = _options(data[FIXED.size :])
    overloaded = int.from_bytes(found.get(OVERLOAD, b"\0"), "big")
    for bit, place in ((1, file), (2, name)):
        for number, value in (_options(place) if overloaded & bit else {}).items():
            found[number] = found.get(number, b"") + value
    own_address, given_address = IPv4Address(own), IPv4Address(given)
    return Packet(operation, transaction, mac[:length], own_address, given_address, bool(flags & BROADCAST), found)


def _encoded(number: int, value: bytes) -> bytes:
    """One option; a long value is split into several of the same number."""
    parts = [value[at : at + 255] for at in range(0, len(value), 255)] or [b""]
    return b"".join(bytes((number, len(part))) + part for part in parts)


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != END:
        if data[at] == PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise ValueError("an option is cut off")
        found[data[at]] = found.get(data[at], b"") + data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


@dataclass(frozen=True)
class Terms:
    """What a server has given, in its ACK."""

    packet: Packet

    @property
    def address(self) -> Optional[IPv4Interface]:
        """None where the server names no mask: an address alone is of no use."""
        mask = self.packet.options.get(MASK, b"")
        return IPv4Interface(f"{self.packet.given}/{IPv4Address(mask)}") if len(mask) == 4 else None

    @property
    def server(self) -> IPv4Address:
        return (addresses(self.packet.options.get(SERVER, b"")) or [NOBODY])[0]

    @property
    def gateway(self) -> Optional[IPv4Address]:
        return next(iter(addresses(self.packet.options.get(ROUTER, b""))), None)

    @property
    def name_servers(self) -> list[IPv4Address]:
        return addresses(self.packet.options.get(NAME_SERVERS, b""))

    @property
    def domain(self) -> str:
        return self.packet.options.get(DOMAIN, b"").rstrip(b"\0").decode("utf-8", "replace")

    @property
    def routes(self) -> list[tuple[IPv4Network, Optional[IPv4Address]]]:
        """(destination, gateway or None: on the link). With option 121 nothing else counts (RFC 3442)."""
        classless = list(_classless(self.packet.options.get(CLASSLESS_ROUTES, b"")))
        if classless:
            return classless
        pairs = addresses(self.packet.options.get(STATIC_ROUTES, b""))
        found: list[tuple[IPv4Network, Optional[IPv4Address]]] = [
            (classful(destination), gateway) for destination, gateway in zip(pairs[::2], pairs[1::2])
        ]
        return found + ([(IPv4Network(0).supernet(new_prefix=0), self.gateway)] if self.gateway else [])

    @property
    def seconds(self) -> tuple[int, int, int]:
        """Until the lease is renewed, rebound, over; the server's times where they are in that order."""
        whole = self._number(LEASE_SECONDS) or USUAL_SECONDS
        rebinding = self._number(REBINDING_SECONDS) or whole * 85 // 100
        renewal = self._number(RENEWAL_SECONDS) or whole // 2
        if not 0 < renewal <= rebinding <= whole:
            renewal, rebinding = whole // 2, whole * 85 // 100
        return renewal, rebinding, whole

    def _number(self, option: int) -> int:
        return int.from_bytes(self.packet.options.get(option, b"")[:4], "big")


def addresses(value: bytes) -> list[IPv4Address]:
    return [IPv4Address(value[at : at + 4]) for at in range(0, len(value) - 3, 4)]


def classful(destination: IPv4Address) -> IPv4Network:
    """The network that an address stood for before there were prefix lengths."""
    first = destination.packed[0]
    length = 8 if first < 128 else 16 if first < 192 else 24
    return IPv4Network((destination, length), strict=False)


def _classless(value: bytes) -> Iterator[tuple[IPv4Network, Optional[IPv4Address]]]:
    at = 0
    while at < len(value):
        length = value[at]
        size = (length + 7) // 8
        if length > 32 or at + 5 + size > len(value):
            return
        destination = IPv4Address(value[at + 1 : at + 1 + size].ljust(4, b"\0"))
        gateway = IPv4Address(value[at + 1 + size : at + 5 + size])
        yield IPv4Network((destination, length), strict=False), None if gateway == NOBODY else gateway
        at += 5 + size
