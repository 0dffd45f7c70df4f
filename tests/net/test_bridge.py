from __future__ import annotations

import errno
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cni_provision.net import bridge, link, rtnl
from cni_provision.net.bridge import Vlan
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import NetlinkError, Socket

VIDS = st.sets(st.integers(1, 4094), min_size=1, max_size=40)


def read_by_pyroute2(body: bytes) -> ifinfmsg:
    message = ifinfmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), rtnl.RTM_SETLINK, 0, 1, 0) + body)
    message.decode()
    return message


@given(VIDS)
def test_ranges_hold_the_same_numbers(vids: set[int]) -> None:
    found = bridge.ranges(vids)
    assert [vid for first, last in found for vid in range(first, last + 1)] == sorted(vids)
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(found))


@given(VIDS, st.booleans())
def test_vlans_come_back_as_they_were_packed(vids: set[int], itself: bool) -> None:
    assert bridge.decode_vlans(bridge.encode_vlans(7, vids, itself=itself)) == {Vlan(vid) for vid in vids}


@given(st.integers(1, 4094))
def test_pyroute2_reads_our_native_vlan(vid: int) -> None:
    seen = read_by_pyroute2(bridge.encode_vlans(7, [vid], native=True, itself=True))
    specification = seen.get_attr("IFLA_AF_SPEC")
    assert (seen["family"], seen["index"]) == (7, 7)
    assert specification.get_attr("IFLA_BRIDGE_VLAN_INFO") == {"flags": bridge.PVID | bridge.UNTAGGED, "vid": vid}
    assert specification.get_attr("IFLA_BRIDGE_VLAN_FLAGS") == bridge.FLAGS_SELF


@given(VIDS)
def test_we_read_the_vlans_of_pyroute2(vids: set[int]) -> None:
    message = ifinfmsg()
    message.update(family=7, index=3)
    entries = [["IFLA_BRIDGE_VLAN_INFO", {"flags": 6 if vid == min(vids) else 0, "vid": vid}] for vid in vids]
    message["attrs"] = [["IFLA_AF_SPEC", {"attrs": entries}]]
    message.encode()
    seen = bridge.decode_vlans(bytes(message.data)[rtnl.HEADER.size :])
    assert seen == {Vlan(vid, native=vid == min(vids)) for vid in vids}


@pytest.mark.root
@pytest.mark.parametrize("flags", [(False, True), (True, False), (True, True), (False, False)])
def test_hairpin_and_isolation(netns_fd: int, flags: tuple[bool, bool]) -> None:
    with Socket(netns_fd) as socket:
        link.create(socket, link.bridge(), Settings(name="br"))
        link.create(socket, link.veth(Settings(name="b")), Settings(name="a", master=link.get(socket, "br").index))
        bridge.set_port(socket, link.get(socket, "a"), hairpin=flags[0], isolated=flags[1])
        port = link.get(socket, "a")
        assert (bridge.is_hairpin(port), bridge.is_isolated(port)) == flags


@pytest.mark.root
def test_a_port_carries_vlans(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        try:
            link.create(socket, link.bridge(vlan_filtering=True), Settings(name="br"))
        except NetlinkError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            pytest.skip("this kernel has no VLAN filtering in bridges")
        made = link.get(socket, "br")
        assert bridge.filters_vlans(made)
        link.create(socket, link.veth(Settings(name="b")), Settings(name="a", master=made.index))
        port = link.get(socket, "a")
        assert bridge.vlans(socket, port) == {Vlan(1, native=True)}
        bridge.delete_vlan(socket, port, 1)
        bridge.delete_vlan(socket, port, 1)
        bridge.add_vlans(socket, port, [100], native=True)
        bridge.add_vlans(socket, port, [200, 201, 202, 300])
        assert bridge.vlans(socket, port) == {Vlan(100, native=True), *(Vlan(v) for v in (200, 201, 202, 300))}
