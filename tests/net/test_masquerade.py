"""Masquerading with real packets, and whose an address is."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_interface

import pytest

from cni_provision.net import masquerade, netns, nft

pytestmark = pytest.mark.root

A, B = nft.owner("pods", "a", "eth0"), nft.owner("pods", "b", "eth0")
ADDRESSES = [ip_interface("10.42.0.2/24"), ip_interface("fd42::2/64")]
OUTSIDE = {4: "192.0.2.2", 6: "2001:db8::2"}


@dataclass
class Path:
    """inside — node — outside: descriptors of three namespaces."""

    inside: int
    node: int
    outside: int

    def seen_outside(self, source: str, destination: str) -> str:
        """From which address a datagram of `source` reaches `destination`."""
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        with opened(self.outside, family) as server, opened(self.inside, family) as client:
            server.bind((destination, 5000))
            client.bind((source, 0))
            client.sendto(b"x", (destination, 5000))
            return server.recvfrom(10)[1][0]


def opened(fd: int, family: int) -> socket.socket:
    with netns.inside(fd):
        made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(2)
    return made


def ip(fd: int, *lines: str) -> None:
    with netns.inside(fd):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


@pytest.fixture
def path(make_netns: Callable[[], int]) -> Iterator[Path]:
    path = Path(make_netns(), make_netns(), make_netns())
    for fd in (path.inside, path.node, path.outside):
        with netns.inside(fd):
            subprocess.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv4.ip_forward=1",
                            "net.ipv6.conf.all.forwarding=1"], check=True)  # fmt: skip
    for name, fd in (("in", path.inside), ("out", path.outside)):
        ip(path.node, f"link add {name} type veth peer name eth0 netns /proc/{os.getpid()}/fd/{fd}")
    ip(path.node, "addr add 10.42.0.1/24 dev in", "addr add fd42::1/64 dev in nodad", "link set in up",
       "addr add 192.0.2.1/24 dev out", "addr add 2001:db8::1/64 dev out nodad", "link set out up")  # fmt: skip
    ip(path.inside, "addr add 10.42.0.2/24 dev eth0", "addr add 10.42.0.3/24 dev eth0",
       "addr add fd42::2/64 dev eth0 nodad", "link set eth0 up", "route add default via 10.42.0.1",
       "route add ::/0 via fd42::1")  # fmt: skip
    ip(path.outside, "addr add 192.0.2.2/24 dev eth0", "addr add 10.42.0.200/32 dev eth0",
       "addr add 2001:db8::2/64 dev eth0 nodad", "link set eth0 up")  # fmt: skip
    ip(path.node, "route add 10.42.0.200/32 dev out")
    ip(path.inside, "route add 10.42.0.200/32 via 10.42.0.1")
    with netns.inside(path.node):
        yield path


def test_packets(path: Path) -> None:
    assert path.seen_outside("10.42.0.2", OUTSIDE[4]) == "10.42.0.2"
    masquerade.ensure(A, ADDRESSES)
    assert path.seen_outside("10.42.0.2", OUTSIDE[4]) == "192.0.2.1"
    assert path.seen_outside("fd42::2", OUTSIDE[6]) == "2001:db8::1"
    assert path.seen_outside("10.42.0.3", OUTSIDE[4]) == "10.42.0.3", "nobody asked for this one"
    assert path.seen_outside("10.42.0.2", "10.42.0.200") == "10.42.0.2", "its own subnet"
    masquerade.remove(A, ADDRESSES)
    assert path.seen_outside("10.42.0.2", OUTSIDE[4]) == "10.42.0.2"


def test_elements_are_exact_keys_and_rules_do_not_grow(path: Path) -> None:
    masquerade.ensure(A, ADDRESSES)
    before = rules()
    for last in range(3, 40):
        masquerade.ensure(nft.owner("pods", f"c{last}", "eth0"), [ip_interface(f"10.42.0.{last}/24")])
    assert rules() == before
    assert "interval" not in ruleset()


def test_the_new_owner_of_an_address_keeps_it(path: Path) -> None:
    masquerade.ensure(A, ADDRESSES)
    masquerade.ensure(B, ADDRESSES)
    masquerade.remove(A, ADDRESSES)
    masquerade.remove(A)
    assert masquerade.check(B, ADDRESSES) == ()
    assert len(masquerade.check(A, ADDRESSES)) == 2


def test_ensure_twice_and_remove_twice(path: Path) -> None:
    masquerade.remove(A, ADDRESSES)
    masquerade.ensure(A, ADDRESSES)
    once = ruleset()
    masquerade.ensure(A, ADDRESSES)
    assert ruleset() == once
    masquerade.remove(A)
    masquerade.remove(A)
    assert len(masquerade.check(A, ADDRESSES)) == 2


def test_nothing_to_do_makes_nothing(path: Path) -> None:
    masquerade.ensure(A, [])
    assert masquerade.check(A, []) == ()
    assert ruleset() == ""


def test_check_says_what_somebody_flushed(path: Path) -> None:
    masquerade.ensure(A, ADDRESSES)
    nft.run("flush chain inet cni_masquerade postrouting")
    assert masquerade.check(A, ADDRESSES) == ("nftables chain `cni_masquerade postrouting` has no rules",)
    nft.run("flush ruleset")
    missing = masquerade.check(A, ADDRESSES)
    assert "nftables map `cni_masquerade sources4` has no entry of this attachment for `10.42.0.2`" in missing
    masquerade.ensure(A, ADDRESSES)
    assert masquerade.check(A, ADDRESSES) == ()


def test_gc(path: Path) -> None:
    masquerade.ensure(A, ADDRESSES[:1])
    masquerade.ensure(B, ADDRESSES[1:])
    assert masquerade.gc("others", ()) == 0
    assert masquerade.gc("pods", {B}) == 1
    assert masquerade.check(B, ADDRESSES[1:]) == ()
    assert masquerade.gc("pods", ()) == 1
    assert masquerade.gc("pods", ()) == 0
    assert ruleset() == ""


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def rules() -> int:
    listed = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return listed.count('{"rule":')
