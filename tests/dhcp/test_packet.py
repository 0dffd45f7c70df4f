from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.dhcp.dhcp4msg import dhcp4msg

from cni_provision.dhcp import packet
from cni_provision.dhcp.packet import Packet, Terms

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
OPTIONS = st.dictionaries(st.integers(1, 254).filter(lambda number: number != packet.OVERLOAD),
                          st.binary(min_size=1, max_size=600), max_size=6)  # fmt: skip
PACKETS = st.builds(
    Packet, operation=st.sampled_from([packet.ASK, packet.ANSWER]), transaction=st.integers(0, 2**32 - 1),
    mac=st.binary(min_size=6, max_size=6), own=V4, given=V4, broadcast=st.booleans(), options=OPTIONS,
)  # fmt: skip
MASK = bytes((255, 255, 255, 0))


@given(PACKETS)
def test_messages_are_read_as_they_were_written(message: Packet) -> None:
    assert packet.decode(message.encode()) == message
    assert len(message.encode()) >= packet.SHORTEST


@given(PACKETS)
def test_pyroute2_reads_our_messages(message: Packet) -> None:
    seen = dhcp4msg(buf=Packet(message.operation, message.transaction, message.mac, message.own, message.given,
                               message.broadcast, {packet.KIND: bytes((packet.REQUEST,))}).encode())  # fmt: skip
    seen.decode()
    assert (seen["op"], seen["xid"], seen["ciaddr"]) == (message.operation, message.transaction, str(message.own))
    assert (seen["yiaddr"], seen["flags"]) == (str(message.given), packet.BROADCAST if message.broadcast else 0)


@given(st.binary(max_size=400))
def test_whatever_arrives_is_a_message_or_none(data: bytes) -> None:
    for content in (data, packet.FIXED.pack(2, 1, 6, 0, 1, 0, 0, *[b""] * 7, packet.COOKIE) + data):
        try:
            terms = Terms(packet.decode(content))
        except ValueError:
            continue
        assert terms.seconds[0] <= terms.seconds[1] <= terms.seconds[2]
        assert isinstance(terms.routes, list)


def test_options_in_the_fields_of_file_and_server_name() -> None:
    fields = [2, 1, 6, 0, 7, 0, 0, *[bytes(4)] * 4, bytes(16), b"\x0c\x02bc\xff".ljust(64, b"\0"),
              b"\x0c\x01a\xff".ljust(128, b"\0")]  # fmt: skip
    data = packet.FIXED.pack(*fields, packet.COOKIE) + bytes((packet.OVERLOAD, 1, 3, packet.END))
    assert packet.decode(data).options[packet.HOST_NAME] == b"abc"


def terms(**options: bytes) -> Terms:
    numbers = {int(name[1:]): value for name, value in options.items()}
    return Terms(Packet(packet.ANSWER, 1, bytes(6), given=IPv4Address("192.0.2.9"), options=numbers))


EVERYWHERE = IPv4Network("0.0.0.0/0")
GATEWAY = IPv4Address("192.0.2.1")
ROUTES = {
    "none": (terms(), []),
    "by a router": (terms(_3=GATEWAY.packed + bytes(4)), [(EVERYWHERE, GATEWAY)]),
    "classful": (
        terms(
            _33=bytes((10, 0, 0, 0)) + GATEWAY.packed + bytes((198, 51, 100, 0)) + GATEWAY.packed, _3=GATEWAY.packed
        ),
        [(IPv4Network("10.0.0.0/8"), GATEWAY), (IPv4Network("198.51.100.0/24"), GATEWAY), (EVERYWHERE, GATEWAY)],
    ),
    "classless, and nothing else counts": (
        terms(_121=bytes((0,)) + GATEWAY.packed + bytes((17, 172, 16, 128)) + bytes(4), _3=bytes(4), _33=bytes(8)),
        [(EVERYWHERE, GATEWAY), (IPv4Network("172.16.128.0/17"), None)],
    ),
    "cut off": (terms(_121=bytes((24, 10, 0))), []),
}


@pytest.mark.parametrize(("given_by", "found"), ROUTES.values(), ids=ROUTES)
def test_routes(given_by: Terms, found: list) -> None:
    assert given_by.routes == found


@pytest.mark.parametrize(("options", "found"), [
    ({}, (1800, 3060, 3600)),
    ({"_51": (100).to_bytes(4, "big")}, (50, 85, 100)),
    ({"_51": (100).to_bytes(4, "big"), "_58": (7).to_bytes(4, "big"), "_59": (8).to_bytes(4, "big")}, (7, 8, 100)),
    ({"_51": (100).to_bytes(4, "big"), "_58": (90).to_bytes(4, "big"), "_59": (8).to_bytes(4, "big")}, (50, 85, 100)),
])  # fmt: skip
def test_times(options: dict, found: tuple) -> None:
    assert terms(**options).seconds == found


def test_address() -> None:
    assert terms(_1=MASK).address == IPv4Interface("192.0.2.9/24")
    assert terms().address is None
    assert terms(_54=GATEWAY.packed).server == GATEWAY
    assert terms().server == packet.NOBODY
