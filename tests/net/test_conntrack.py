"""Flows as the `conntrack` program shows them, and forgetting some of them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from cni_provision.net import conntrack, netns, nfnetlink, nft

pytestmark = pytest.mark.root

SCRIPT = """
add table inet t
add chain inet t out { type nat hook output priority -100; }
add rule inet t out udp dport 5300 dnat ip to 127.0.0.9:53
add rule inet t out ip6 daddr ::1 udp dport 5301 dnat ip6 to [::1]:53
"""


@pytest.fixture(autouse=True)
def sent(netns_fd: int) -> Iterator[dict[int, int]]:
    """Four flows over lo: to 5300 (translated), 5301 (IPv6, translated), 5302; source port by port."""
    with netns.inside(netns_fd), ExitStack() as stack:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        nft.run(SCRIPT)
        ports = {}
        for address, port in (("127.0.0.1", 5300), ("::1", 5301), ("127.0.0.1", 5302)):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            client.sendto(b"x", (address, port))
            ports[port] = client.getsockname()[1]
        yield ports


def tracked() -> str:
    both = [["conntrack", "-L", "-f", family] for family in ("ipv4", "ipv6")]
    return "".join(subprocess.run(each, capture_output=True, text=True, check=True).stdout for each in both)


@pytest.mark.parametrize(
    ("version", "port", "local", "answering"),
    [(4, 5300, "127.0.0.1", "127.0.0.9"), (6, 5301, "::1", "::1")],
)
def test_a_translated_flow(sent: dict[int, int], version: int, port: int, local: str, answering: str) -> None:
    with nfnetlink.Socket() as connection:
        (flow,) = conntrack.flows(connection, version, conntrack.UDP, port)
    assert (flow.protocol, flow.source, flow.source_port) == (17, ip_address(local), sent[port])
    assert (flow.destination, flow.destination_port) == (ip_address(local), port)
    assert (flow.answered_by, flow.answered_from_port) == (ip_address(answering), 53)


def test_other_families_protocols_and_ports_are_not_shown() -> None:
    with nfnetlink.Socket() as connection:
        assert conntrack.flows(connection, 6, conntrack.UDP, 5300) == []
        assert conntrack.flows(connection, 4, socket.IPPROTO_TCP, 5300) == []
        assert conntrack.flows(connection, 4, conntrack.UDP, 53) == []


def test_forget_takes_what_is_stale_only() -> None:
    assert conntrack.forget(4, 5300, lambda flow: flow.answered_by == ip_address("10.0.0.1")) == 0
    assert "dport=5300" in tracked()
    assert conntrack.forget(4, 5300, lambda flow: flow.answered_by == ip_address("127.0.0.9")) == 1
    assert conntrack.forget(4, 5300, lambda flow: True) == 0
    assert conntrack.forget(6, 5301, lambda flow: True) == 1
    left = tracked()
    assert "dport=5302" in left
    assert "dport=5300" not in left
    assert "dport=5301" not in left


def test_a_flow_that_ended_meanwhile() -> None:
    def end(_: conntrack.Flow) -> bool:
        subprocess.run(["conntrack", "-F"], capture_output=True, check=True)
        return True

    assert conntrack.forget(4, 5302, end) == 0
