from __future__ import annotations

import struct
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from cni_provision.dhcp import exchange, packet
from cni_provision.dhcp.packet import Packet

V4 = st.integers(0, 2**32 - 1).map(IPv4Address)


def to_client(frame: bytes) -> bytes:
    """The same packet on its way back."""
    return frame[:20] + struct.pack("!HH", exchange.SERVER_PORT, exchange.CLIENT_PORT) + frame[24:]


@given(V4, V4, st.integers(0, 2**32 - 1), st.binary(max_size=50))
def test_frames_are_read_as_they_were_written(source, destination, transaction: int, padding: bytes) -> None:
    message = Packet(packet.ANSWER, transaction, bytes(6), options={packet.KIND: bytes((packet.ACK,))})
    frame = exchange.framed(message.encode(), source, destination)
    assert exchange.checksum(frame[:20]) == 0, "a header with its sum sums up to nothing"
    assert exchange.answer(to_client(frame) + padding) == message
    assert exchange.answer(frame) is None, "it goes to a server"


@given(st.binary(max_size=200))
def test_whatever_arrives_is_an_answer_or_none(data: bytes) -> None:
    for frame in (data, bytes((0x45, 0, 0, 200, 0, 0, 0, 0, 64, 17)) + data):
        found = exchange.answer(frame)
        assert found is None or isinstance(found, Packet)
