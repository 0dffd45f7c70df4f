from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from cni_provision.net import address, link, rtnl, sysctl
from cni_provision.net.address import IPInterface
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import NetlinkError, Socket

V4 = st.builds(lambda ip, prefix: ipaddress.ip_interface((ip, prefix)), st.ip_addresses(v=4), st.integers(0, 32))
V6 = st.builds(lambda ip, prefix: ipaddress.ip_interface((ip, prefix)), st.ip_addresses(v=6), st.integers(0, 128))
INTERFACES = V4 | V6
INDEXES = st.integers(1, 2**31 - 1)


@given(INTERFACES, INDEXES)
def test_pyroute2_reads_our_addresses(interface: IPInterface, index: int) -> None:
    body = address.encode(interface, index)
    seen = ifaddrmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), rtnl.RTM_NEWADDR, 0, 1, 0) + body)
    seen.decode()
    assert (seen["prefixlen"], seen["index"]) == (interface.network.prefixlen, index)
    assert seen["family"] == (2 if interface.version == 4 else 10)
    for name in ("IFA_LOCAL", "IFA_ADDRESS"):
        assert ipaddress.ip_address(seen.get_attr(name)) == interface.ip
    broadcast = seen.get_attr("IFA_BROADCAST")
    if interface.version == 4 and interface.network.prefixlen < 31:
        assert broadcast == str(interface.network.broadcast_address)
    else:
        assert broadcast is None


@given(INTERFACES, INDEXES, st.integers(0, 2**12 - 1))
def test_we_read_the_addresses_of_pyroute2(interface: IPInterface, index: int, flags: int) -> None:
    message = ifaddrmsg()
    prefix = interface.network.prefixlen
    message.update(family=2 if interface.version == 4 else 10, prefixlen=prefix, index=index, scope=253)
    message["attrs"] = [["IFA_ADDRESS", str(interface.ip)], ["IFA_FLAGS", flags]]
    message.encode()
    seen = address.decode(bytes(message.data)[rtnl.HEADER.size :])
    assert (seen.interface, seen.index, seen.flags, seen.scope) == (interface, index, flags, 253)
    assert (seen.tentative, seen.duplicate) == (bool(flags & 0x40), bool(flags & 0x8))


@pytest.mark.root
@pytest.mark.parametrize("text", ["10.1.2.3/24", "10.9.0.1/32", "fd00::5/64"])
def test_an_address_comes_and_goes(netns_fd: int, text: str) -> None:
    wanted = ipaddress.ip_interface(text)
    with Socket(netns_fd) as socket:
        link.create(socket, link.bridge(), Settings(name="br"))
        bridge, loopback = link.get(socket, "br"), link.get(socket, "lo")
        address.add(socket, bridge, wanted)
        assert [one.interface for one in address.dump(socket, bridge)] == [wanted]
        assert wanted not in {one.interface for one in address.dump(socket, loopback)}
        with pytest.raises(NetlinkError, match=f"cannot add address {text} to `br`: File exists"):
            address.add(socket, bridge, wanted)
        address.delete(socket, bridge, wanted)
        address.delete(socket, bridge, wanted)
        assert address.dump(socket, bridge) == []


def two_ends(make_netns: Callable[[], int], mac: str) -> tuple[int, int]:
    """Two namespaces joined by a veth pair; both ends have the same address, the second one is up."""
    here, there = make_netns(), make_netns()
    with Socket(here) as near, Socket(there) as far:
        link.create(near, link.veth(Settings(name="eth0", netns_fd=there, mac=mac)), Settings(name="eth0"))
        sysctl.write("net/ipv6/conf/eth0/accept_dad", "0", there)
        end = link.get(far, "eth0")
        link.change(far, end, Settings(up=True))
        address.add(far, end, ipaddress.ip_interface("fd00::1/64"))
    return here, there


@pytest.mark.root
def test_an_address_of_another_host_is_refused(make_netns: Callable[[], int]) -> None:
    here, _ = two_ends(make_netns, "02:00:00:00:00:01")
    with Socket(here) as socket:
        end = link.get(socket, "eth0")
        address.add(socket, end, ipaddress.ip_interface("fd00::1/64"))
        link.change(socket, end, Settings(up=True))
        with pytest.raises(OSError, match=r"^another host on the link of `eth0` has fd00::1/64"):
            address.wait_until_usable(socket, end, 5)


@pytest.mark.root
def test_an_address_of_nobody_becomes_usable(make_netns: Callable[[], int]) -> None:
    here, _ = two_ends(make_netns, "02:00:00:00:00:02")
    with Socket(here) as socket:
        end = link.get(socket, "eth0")
        address.add(socket, end, ipaddress.ip_interface("fd00::2/64"))
        link.change(socket, end, Settings(up=True))
        with pytest.raises(OSError, match="no answer about duplicates of fd00::2/64"):
            address.wait_until_usable(socket, end, 0)
        address.wait_until_usable(socket, end, 5)
        assert not any(one.tentative for one in address.dump(socket, end))
