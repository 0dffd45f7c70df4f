from __future__ import annotations

import pytest

from cni_provision.net import rtnl, vrf
from cni_provision.net.link import IFLA_INFO_DATA, IFLA_INFO_KIND, Link


def with_table(number: int) -> Link:
    info = rtnl.text(IFLA_INFO_KIND, "vrf") + rtnl.nested(IFLA_INFO_DATA, rtnl.u32(vrf.IFLA_VRF_TABLE, number))
    return Link(number, f"vrf{number}", "vrf", info=info)


@pytest.mark.parametrize(
    ("taken", "free"),
    [([], 1), ([2, 3], 1), ([1, 2, 4], 3), (range(1, 1000), 1000)],
)
def test_the_first_free_table(taken: list[int], free: int) -> None:
    others = [Link(7, "eth0", "veth"), Link(8, "br0", "bridge")]
    assert vrf.free_table([with_table(number) for number in taken] + others) == free


def test_ports() -> None:
    blue = with_table(1)
    ports = [Link(10, "a", master=blue.index), Link(11, "b", master=5), Link(12, "c")]
    assert [one.name for one in vrf.ports(ports, blue)] == ["a"]
