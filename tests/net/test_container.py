from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from cni_provision.cni import types
from cni_provision.net import address, container, link, route, sysctl
from cni_provision.net.errors import NetError
from cni_provision.net.link import Link, Settings
from cni_provision.net.rtnl import Socket

V4, V6 = ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")
GATEWAYS = [ip_address("fd00::1"), ip_address("10.0.0.1"), ip_address("10.9.0.1")]


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (types.Route(V4), route.Route(V4, GATEWAYS[1], 7)),
        (types.Route(V6), route.Route(V6, GATEWAYS[0], 7)),
        (types.Route(V4, ip_address("10.0.0.9")), route.Route(V4, ip_address("10.0.0.9"), 7)),
        (types.Route(V4, scope=253), route.Route(V4, None, 7, scope=253)),
        (
            types.Route(V4, mtu=1300, advmss=1200, priority=5, table=1000),
            route.Route(V4, GATEWAYS[1], 7, table=1000, priority=5, mtu=1300, advmss=1200),
        ),
    ],
)
def test_routes_of_a_result(planned: types.Route, expected: route.Route) -> None:
    assert container.routes([planned], GATEWAYS, 7) == [expected]


def test_routes_without_any_gateway() -> None:
    assert container.routes([types.Route(V4), types.Route(V6)], [], 7) == [
        route.Route(V4, None, 7, scope=route.SCOPE_LINK),
        route.Route(V6, None, 7, scope=route.SCOPE_UNIVERSE),
    ]


def test_an_alias_that_the_kernel_cannot_hold() -> None:
    assert container.alias("pods", "abc", "eth0") == "pods/abc/eth0"
    assert container.alias("pods", "a" * 300, "eth0") is None


def end(alias: str, kind: str = "veth") -> Link:
    return Link(1, alias, kind, alias=alias)


def test_stale_ends_are_those_of_this_network_only() -> None:
    kept, stale, of_others = end("pods/a/eth0"), end("pods/b/eth0"), end("pods-2/c/eth0")
    links = [kept, stale, of_others, end(""), end("pods/b/eth0", kind="bridge")]
    assert container.stale_ends(links, "pods", {("a", "eth0")}) == [stale]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, ["interface `eth0` is gone"]),
        (Link(1, "eth0", "dummy"), ["interface `eth0` is no veth but `dummy`"]),
        (Link(1, "eth0", "veth", mac="02:00:00:00:00:01"), []),
        (Link(1, "eth0", "veth", mac="02:00:00:00:00:02"), ["`eth0` has the MAC address 02:00:00:00:00:02, not "]),
    ],
)
def test_unlike_what_was_planned(found: Link | None, expected: list[str]) -> None:
    planned = {"eth0": types.Interface("eth0", "02:00:00:00:00:01".upper())}
    wrong = container.unlike(found, "eth0", "veth", planned)
    assert len(wrong) == len(expected)
    assert all(one.startswith(start) for one, start in zip(wrong, expected))
    assert container.unlike(Link(1, "eth0", "veth"), "eth0", "veth", {}) != []


@pytest.mark.root
def test_a_pair_is_configured_and_looked_at(make_netns: Callable[[], int]) -> None:
    here, there = make_netns(), make_netns()
    own = [ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")]
    with Socket(here) as host, Socket(there) as inside:
        sysctl.write("net/ipv6/conf/default/disable_ipv6", "1", there)
        names: list[str] = []
        inner = Settings(name="eth0", netns_fd=there)
        pair = container.connect(host, inside, inner, Settings(alias="a"), note=names.append)
        outer = pair.outer
        assert names == [outer.name]
        assert (outer.name[:4], len(outer.name)) == ("veth", 12)
        link.change(host, outer, Settings(up=True))
        planned = container.routes([types.Route(V4), types.Route(V6)], GATEWAYS, pair.inner.index)
        container.configure(inside, there, pair.inner, own, planned)
        assert {one.interface for one in address.dump(inside, link.get(inside, "eth0"))} >= set(own)
        assert container.missing(inside, "eth0", own, [V4, V6]) == []
        assert container.missing(inside, "eth0", [ip_interface("10.0.0.2/16")], [ip_network("198.51.100.0/24")]) == [
            "address `10.0.0.2/16` is not on `eth0`",
            "route to `198.51.100.0/24` is gone",
        ]
        with pytest.raises(NetError, match="the container has an interface `eth0` already"):
            container.connect(host, inside, Settings(name="eth0", netns_fd=there), Settings())
        assert {one.name for one in link.dump(host)} == {"lo", outer.name}


@pytest.mark.root
def test_the_host_end_is_found_by_its_attachment(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        made = container.connect(socket, socket, Settings(name="eth0"), Settings()).outer
        link.change(socket, made, Settings(alias=container.alias("pods", "abc", "eth0")))
        found = container.host_end(socket, "pods", "abc", "eth0")
        assert found is not None
        assert found.index == made.index
        assert container.host_end(socket, "pods", "abc", "net1") is None
