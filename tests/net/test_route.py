from __future__ import annotations

import ipaddress
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cni_provision.net import address, link, route, rtnl
from cni_provision.net.link import Link, Settings
from cni_provision.net.route import Route
from cni_provision.net.rtnl import NetlinkError, Socket

U31 = st.integers(0, 2**31 - 1)


def networks(version: int) -> st.SearchStrategy:
    bits = 32 if version == 4 else 128
    return st.builds(
        lambda ip, prefix: ipaddress.ip_network((ip, prefix), strict=False),
        st.ip_addresses(v=version),
        st.integers(0, bits),
    )


def routes(version: int) -> st.SearchStrategy:
    gateways = st.none() | st.ip_addresses(v=version)
    return st.builds(
        Route, networks(version), gateways, U31, st.integers(1, 2**31), U31, st.integers(0, 255), U31, U31, gateways
    )


@given(routes(4) | routes(6))
def test_pyroute2_reads_our_routes(wanted: Route) -> None:
    body = route.encode(wanted)
    seen = rtmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), rtnl.RTM_NEWROUTE, 0, 1, 0) + body)
    seen.decode()
    assert (seen["dst_len"], seen["scope"]) == (wanted.destination.prefixlen, wanted.scope)
    assert seen["family"] == (AF_INET if wanted.destination.version == 4 else AF_INET6)
    destination = wanted.destination.network_address if wanted.destination.prefixlen else None
    for name, value in (("RTA_DST", destination), ("RTA_GATEWAY", wanted.gateway), ("RTA_PREFSRC", wanted.source)):
        text = seen.get_attr(name)
        assert (ipaddress.ip_address(text) if text else None) == value
    assert seen.get_attr("RTA_TABLE") == wanted.table
    for name, number in (("RTA_OIF", wanted.index), ("RTA_PRIORITY", wanted.priority)):
        assert seen.get_attr(name) == (number or None)
    metrics = seen.get_attr("RTA_METRICS")
    assert (metrics.get_attr("RTAX_MTU") if metrics else None) == (wanted.mtu or None)
    assert (metrics.get_attr("RTAX_ADVMSS") if metrics else None) == (wanted.advmss or None)


@given(routes(4) | routes(6))
def test_routes_come_back_as_they_were_packed(wanted: Route) -> None:
    assert route.decode(route.encode(wanted)) == wanted


@given(routes(4) | routes(6))
def test_we_read_the_routes_of_pyroute2(wanted: Route) -> None:
    message = rtmsg()
    family = AF_INET if wanted.destination.version == 4 else AF_INET6
    length = wanted.destination.prefixlen
    message.update(family=family, dst_len=length, scope=wanted.scope, type=1, table=254, proto=3)
    message["attrs"] = [["RTA_TABLE", wanted.table], ["RTA_OIF", wanted.index], ["RTA_PRIORITY", wanted.priority]]
    message["attrs"] += [["RTA_METRICS", {"attrs": [["RTAX_MTU", wanted.mtu], ["RTAX_ADVMSS", wanted.advmss]]}]]
    if wanted.destination.prefixlen:
        message["attrs"] += [["RTA_DST", str(wanted.destination.network_address)]]
    for name, value in (("RTA_GATEWAY", wanted.gateway), ("RTA_PREFSRC", wanted.source)):
        message["attrs"] += [[name, str(value)]] if value is not None else []
    message.encode()
    assert route.decode(bytes(message.data)[rtnl.HEADER.size :]) == wanted


def cable(socket: Socket) -> Link:
    """One end, `a`, of a veth pair whose both ends are here and up."""
    link.create(socket, link.veth(Settings(name="b")), Settings(name="a", up=True))
    link.change(socket, link.get(socket, "b"), Settings(up=True))
    return link.get(socket, "a")


@pytest.mark.root
@pytest.mark.parametrize(
    ("own", "gateway", "destination"),
    [
        ("10.0.0.2/24", "10.0.0.1", "0.0.0.0/0"),
        ("10.0.0.2/24", None, "192.0.2.0/24"),
        ("fd00::2/64", "fd00::1", "::/0"),
    ],
)
def test_a_route_comes_and_goes(netns_fd: int, own: str, gateway: str | None, destination: str) -> None:
    with Socket(netns_fd) as socket:
        end = cable(socket)
        address.add(socket, end, ipaddress.ip_interface(own))
        target = ipaddress.ip_network(destination)
        wanted = Route(
            target, ipaddress.ip_address(gateway) if gateway else None, end.index, table=1000, priority=7, mtu=1300,
            advmss=1200, scope=route.SCOPE_UNIVERSE if gateway else route.SCOPE_LINK,
        )  # fmt: skip
        route.add(socket, wanted, "a")
        route.add(socket, wanted, "a")
        assert [one for one in route.dump(socket, target.version) if one.table == 1000] == [wanted]
        route.delete(socket, wanted, "a")
        route.delete(socket, wanted, "a")
        assert not [one for one in route.dump(socket, target.version) if one.table == 1000]


@pytest.mark.root
def test_two_routes_to_one_destination_live_side_by_side(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        end = cable(socket)
        address.add(socket, end, ipaddress.ip_interface("10.0.0.2/24"))
        anywhere = ipaddress.ip_network("0.0.0.0/0")
        both = {Route(anywhere, ipaddress.ip_address(f"10.0.0.{host}"), end.index) for host in (1, 9)}
        for one in both:
            route.add(socket, one, "a")
        assert {one for one in route.dump(socket, 4) if one.destination == anywhere} == both


@pytest.mark.root
def test_a_gateway_nobody_can_reach_is_an_error(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        link.create(socket, link.bridge(), Settings(name="br", up=True))
        wanted = Route(ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_address("10.9.9.9"))
        with pytest.raises(NetlinkError, match=r"add route 192.0.2.0/24 via 10.9.9.9 through `br`: Network is un"):
            route.add(socket, wanted, "br")
