from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cni_provision.net import bridge, link, rtnl
from cni_provision.net.link import Kind, Settings
from cni_provision.net.rtnl import NetlinkError, Socket

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=15)
MACS = st.binary(min_size=6, max_size=6).map(link.mac_text)
U32 = st.integers(0, 2**32 - 1)
INDEXES = st.integers(1, 2**31 - 1)


def maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


SETTINGS = st.builds(
    Settings, name=maybe(NAMES), mac=maybe(MACS), mtu=maybe(U32), master=maybe(U32), parent=maybe(U32),
    alias=maybe(st.text("abc/.-", min_size=1, max_size=100)), tx_queue=maybe(U32), netns_fd=maybe(U32),
    parent_nsid=maybe(st.integers(0, 2**31 - 1)), queues=maybe(U32),
    up=maybe(st.booleans()), promiscuous=maybe(st.booleans()),
)  # fmt: skip
ATTRIBUTES = {
    "name": "IFLA_IFNAME", "mac": "IFLA_ADDRESS", "mtu": "IFLA_MTU", "master": "IFLA_MASTER", "parent": "IFLA_LINK",
    "alias": "IFLA_IFALIAS", "tx_queue": "IFLA_TXQLEN", "netns_fd": "IFLA_NET_NS_FD",
    "parent_nsid": "IFLA_LINK_NETNSID", "queues": "IFLA_NUM_TX_QUEUES",
}  # fmt: skip


def read_by_pyroute2(body: bytes) -> ifinfmsg:
    message = ifinfmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), rtnl.RTM_NEWLINK, 0, 1, 0) + body)
    message.decode()
    return message


def written_by_pyroute2(fields: dict, attributes: list) -> bytes:
    message = ifinfmsg()
    message.update(fields)
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)[rtnl.HEADER.size :]


@given(SETTINGS, INDEXES)
def test_pyroute2_reads_our_settings(settings: Settings, index: int) -> None:
    seen = read_by_pyroute2(settings.encode(index))
    assert seen["index"] == index
    for ours, theirs in ATTRIBUTES.items():
        assert seen.get_attr(theirs) == getattr(settings, ours)
    assert seen.get_attr("IFLA_NUM_RX_QUEUES") == settings.queues
    for bit, wanted in ((link.IFF_UP, settings.up), (link.IFF_PROMISC, settings.promiscuous)):
        assert bool(seen["change"] & bit) == (wanted is not None)
        assert bool(seen["flags"] & bit) == bool(wanted)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (link.bridge(), {}),
        (link.bridge(vlan_filtering=True), {"IFLA_BR_VLAN_FILTERING": 1}),
        (link.dummy(), {}),
        (link.vlan(100), {"IFLA_VLAN_ID": 100}),
        (link.macvlan(4), {"IFLA_MACVLAN_MODE": "bridge"}),
        (link.macvlan(8), {"IFLA_MACVLAN_MODE": "passthru"}),
        (link.ipvlan(1), {"IFLA_IPVLAN_MODE": 1}),
    ],
)
def test_pyroute2_reads_our_kinds(kind: Kind, data: dict) -> None:
    information = read_by_pyroute2(Settings().encode() + kind.encode()).get_attr("IFLA_LINKINFO")
    assert information.get_attr("IFLA_INFO_KIND") == kind.name
    seen = information.get_attr("IFLA_INFO_DATA")
    assert {name: seen.get_attr(name) for name in data} == data if data else seen is None


@given(SETTINGS, SETTINGS)
def test_pyroute2_reads_our_veth_pairs(outer: Settings, inner: Settings) -> None:
    seen = read_by_pyroute2(outer.encode() + link.veth(inner).encode())
    peer = seen.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert {name: peer.get_attr(name) for name in ATTRIBUTES.values()} == {
        theirs: getattr(inner, ours) for ours, theirs in ATTRIBUTES.items()
    }


@given(INDEXES, NAMES, MACS, U32, U32, st.integers(0, 255), st.integers(0, 2**17 - 1), st.booleans())
def test_we_read_the_links_of_pyroute2(
    index: int, name: str, mac: str, mtu: int, master: int, state: int, flags: int, bit: bool
) -> None:
    role = {"attrs": [["IFLA_BRPORT_MODE", int(bit)], ["IFLA_BRPORT_ISOLATED", int(not bit)]]}
    data = {"attrs": [["IFLA_BR_VLAN_FILTERING", int(bit)]]}
    kinds = [["IFLA_INFO_KIND", "bridge"], ["IFLA_INFO_DATA", data]]
    kinds += [["IFLA_INFO_SLAVE_KIND", "bridge"], ["IFLA_INFO_SLAVE_DATA", role]]
    body = written_by_pyroute2(
        {"index": index, "flags": flags},
        [
            ["IFLA_IFNAME", name],
            ["IFLA_ADDRESS", mac],
            ["IFLA_MTU", mtu],
            ["IFLA_MASTER", master],
            ["IFLA_OPERSTATE", state_name(state)],
            ["IFLA_LINKINFO", {"attrs": kinds}],
        ],
    )
    seen = link.decode(body)
    assert (seen.index, seen.name, seen.mac, seen.mtu, seen.master) == (index, name, mac, mtu, master)
    assert (seen.kind, seen.flags, seen.operstate) == ("bridge", flags, state % 7)
    assert seen.up == bool(flags & 1)
    assert (bridge.filters_vlans(seen), bridge.is_hairpin(seen), bridge.is_isolated(seen)) == (bit, bit, not bit)


def state_name(number: int) -> str:
    return ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")[number % 7]


@pytest.mark.root
def test_a_link_is_made_found_changed_and_deleted(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        assert link.find(socket, "cni0") is None
        link.create(socket, link.bridge(), Settings(name="cni0", mtu=1400))
        made = link.get(socket, "cni0")
        assert (made.kind, made.mtu, made.up, made.promiscuous) == ("bridge", 1400, False, False)
        link.change(socket, made, Settings(up=True, promiscuous=True, alias="why", mac="02:00:00:00:00:07"))
        changed = link.by_index(socket, made.index)
        assert (changed.up, changed.promiscuous, changed.alias) == (True, True, "why")
        assert changed.mac == "02:00:00:00:00:07"
        link.delete(socket, made)
        assert link.find(socket, "cni0") is None
        link.delete(socket, made)


@pytest.mark.root
def test_a_veth_pair_spans_two_namespaces(make_netns: Callable[[], int]) -> None:
    here, there = make_netns(), make_netns()
    with Socket(here) as near, Socket(there) as far:
        inner = Settings(name="eth0", netns_fd=there, mtu=1300, mac="02:00:00:00:00:09")
        link.create(near, link.veth(inner), Settings(name="veth0", mtu=1300, up=True))
        end = link.get(far, "eth0")
        assert (end.mtu, end.mac, end.kind) == (1300, "02:00:00:00:00:09", "veth")
        assert link.get(near, "veth0").parent == end.index
        assert link.wait_until_operational(near, "veth0", 0.01).operstate != link.OPERSTATE_UP
        link.change(far, end, Settings(up=True))
        assert link.wait_until_operational(near, "veth0", 2).operstate == link.OPERSTATE_UP


@pytest.mark.root
def test_a_taken_name_is_an_error(netns_fd: int) -> None:
    with Socket(netns_fd) as socket, pytest.raises(NetlinkError, match="interface `lo`: File exists"):
        link.create(socket, link.bridge(), Settings(name="lo"))


@pytest.mark.root
def test_support_is_asked_for_without_making_anything(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        before = link.dump(socket)
        assert link.supported(socket, "bridge")
        assert link.supported(socket, "veth")
        assert not link.supported(socket, "no-such-kind")
        assert link.dump(socket) == before


@pytest.mark.root
@pytest.mark.parametrize(
    "kind", [link.dummy(), link.macvlan(4, 500), link.ipvlan(0), link.vlan(100)], ids=lambda k: k.name
)
def test_other_kinds_are_made(netns_fd: int, kind: Kind) -> None:
    with Socket(netns_fd) as socket:
        if not link.supported(socket, kind.name):
            pytest.skip(f"this kernel has no {kind.name} interfaces")
        link.create(socket, link.veth(Settings(name="b")), Settings(name="a"))
        parent = None if kind.name == "dummy" else link.get(socket, "a").index
        link.create(socket, kind, Settings(name="made", parent=parent))
        made = link.get(socket, "made")
        assert made.kind == kind.name
        wanted = rtnl.attributes(kind.data)
        assert {key: made.data.get(key) for key in wanted} == wanted


@pytest.mark.root
def test_a_link_that_does_not_exist(netns_fd: int) -> None:
    with Socket(netns_fd) as socket, pytest.raises(NetlinkError) as caught:
        link.get(socket, "absent")
    assert caught.value.errno == errno.ENODEV
    assert "`absent`" in str(caught.value)
