"""Connection tracking entries: listing those of one port, and forgetting them (ctnetlink).

UDP has no end of a connection: while datagrams flow, the kernel goes on translating them as it did for the
first one, also after a port mapping came, went or moved. Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import _socket as socket
import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Union

from cni_provision.net import nfnetlink, rtnl
from cni_provision.net.nfnetlink import Message, NfnetlinkError
from cni_provision.net.rtnl import attribute, attributes, nested

Address = Union[IPv4Address, IPv6Address]

UDP = 17
_GET, _DELETE = (nfnetlink.CONNTRACK << 8 | kind for kind in (1, 2))
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_IP, _PROTOCOL = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_FILTER_ORIGINAL, _FILTER_NUMBER, _FILTER_DESTINATION_PORT = 1, 1 << 3, 1 << 5
_FAMILY = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_SOURCE = {4: 1, 6: 3}
_DESTINATION = {4: 2, 6: 4}


@dataclass(frozen=True)
class Flow:
    """One tracked connection: as the client sent it, and who answers it. `identity` names it to the kernel."""

    protocol: int
    source: Address
    source_port: int
    destination: Address
    destination_port: int
    answered_by: Address
    answered_from_port: int
    identity: bytes


def flows(connection: nfnetlink.Socket, version: int, protocol: int, port: int) -> list[Flow]:
    """The connections of `protocol` that clients opened to `port`; the kernel filters where it can (5.8)."""
    wanted = nested(_PROTOCOL, attribute(_NUMBER, bytes((protocol,))), attribute(_DESTINATION_PORT, _port(port)))
    flags = attribute(_FILTER_ORIGINAL, struct.pack("=I", _FILTER_NUMBER | _FILTER_DESTINATION_PORT))
    payload = nested(_TUPLE_ORIGINAL, wanted) + nested(_FILTER, flags)
    message = Message(_GET, payload, 0, _FAMILY[version], f"list the connections to port {port}")
    found = (decode(reply, version) for reply in connection.dump(message))
    return [flow for flow in found if flow and (flow.protocol, flow.destination_port) == (protocol, port)]


def forget(version: int, port: int, stale: Callable[[Flow], bool]) -> int:
    """Delete the UDP connections to `port` that `stale` picks; returns how many there were.

    Nothing is tracked, and nothing to do, where the kernel has no connection tracking (`EINVAL`).
    """
    with nfnetlink.borrowed() as connection:
        try:
            found = [flow for flow in flows(connection, version, UDP, port) if stale(flow)]
        except NfnetlinkError as error:
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                return 0
            raise
        return sum(_delete(connection, flow, _FAMILY[version]) for flow in found)


def decode(reply: bytes, version: int) -> Flow | None:
    """One dumped entry; None for a protocol without ports."""
    fields = attributes(reply)
    original, answer = attributes(fields[_TUPLE_ORIGINAL]), attributes(fields[_TUPLE_REPLY])
    client, server = attributes(original[_PROTOCOL]), attributes(answer[_PROTOCOL])
    if _DESTINATION_PORT not in client:
        return None
    addresses, answering = attributes(original[_IP]), attributes(answer[_IP])
    kept = (_TUPLE_ORIGINAL | rtnl.NLA_F_NESTED, _TUPLE_ORIGINAL), (_ID, _ID), (_ZONE, _ZONE)
    return Flow(
        protocol=client[_NUMBER][0],
        source=ip_address(addresses[_SOURCE[version]]),
        source_port=_number(client[_SOURCE_PORT]),
        destination=ip_address(addresses[_DESTINATION[version]]),
        destination_port=_number(client[_DESTINATION_PORT]),
        answered_by=ip_address(answering[_SOURCE[version]]),
        answered_from_port=_number(server[_SOURCE_PORT]),
        identity=b"".join(attribute(sent, fields[kind]) for sent, kind in kept if kind in fields),
    )


def _delete(connection: nfnetlink.Socket, flow: Flow, family: int) -> bool:
    operation = f"forget the connection of {flow.source} to port {flow.destination_port}"
    try:
        connection.get(Message(_DELETE, flow.identity, 0, family, operation))
    except NfnetlinkError as error:
        if error.errno != errno.ENOENT:  # it ended by itself
            raise
        return False
    return True


def _port(port: int) -> bytes:
    return struct.pack("!H", port)


def _number(value: bytes) -> int:
    return int(struct.unpack("!H", value)[0])
