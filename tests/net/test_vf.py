from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cni_provision.net import link, rtnl, vf
from cni_provision.net.link import Link
from cni_provision.net.vf import Settings, Vlan

U32 = st.integers(0, 2**32 - 1)
VLANS = st.builds(Vlan, st.integers(0, 4094), st.integers(0, 7), st.sampled_from(list(vf.PROTOCOLS.values())))
SETTINGS = st.builds(
    Settings, mac=st.none() | st.binary(min_size=6, max_size=6).map(link.mac_text), vlan=st.none() | VLANS,
    rates=st.none() | st.tuples(U32, U32), check_source=st.none() | st.booleans(), trusted=st.none() | st.booleans(),
    link_state=st.none() | st.sampled_from(list(vf.LINK_STATES.values())),
)  # fmt: skip


def read_by_pyroute2(body: bytes) -> ifinfmsg:
    message = ifinfmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), rtnl.RTM_NEWLINK, 0, 1, 0) + body)
    message.decode()
    return message


@given(SETTINGS, U32)
def test_pyroute2_reads_our_requests(wanted: Settings, number: int) -> None:
    requests = vf.changing(Link(7, "pf0"), number, wanted)
    seen: dict = {}
    for request in requests:
        message = read_by_pyroute2(request.body)
        assert (message["index"], request.kind) == (7, rtnl.RTM_SETLINK)
        seen.update(dict(message.get_attr("IFLA_VFINFO_LIST").get_attr("IFLA_VF_INFO")["attrs"]))
    expected: dict = {}
    if wanted.mac is not None:
        assert seen.pop("IFLA_VF_MAC")["mac"].lower().startswith(wanted.mac)
    if wanted.vlan is not None:
        entry = seen.pop("IFLA_VF_VLAN_LIST").get_attr("IFLA_VF_VLAN_INFO")
        assert (entry["vlan"], entry["qos"]) == (wanted.vlan.number, wanted.vlan.priority)
        assert struct.pack("!H", wanted.vlan.protocol) in requests[1 if wanted.trusted is not None else 0].body
    if wanted.rates is not None:
        expected["IFLA_VF_RATE"] = {"vf": number, "min_tx_rate": wanted.rates[0], "max_tx_rate": wanted.rates[1]}
    for name, value in (
        ("SPOOFCHK", wanted.check_source),
        ("TRUST", wanted.trusted),
        ("LINK_STATE", wanted.link_state),
    ):
        if value is not None:
            key = "link_state" if name == "LINK_STATE" else "setting"
            found = seen.pop(f"IFLA_VF_{name}")
            assert list(found.values()) == [number, int(value)] or found.get(key) == value
    assert {name: dict(value) for name, value in seen.items()} == expected


def listed(*functions: bytes) -> bytes:
    """A card's answer."""
    body = link.INFO.pack(0, 0, 7, 0, 0) + rtnl.text(link.IFLA_IFNAME, "pf0")
    return body + rtnl.nested(vf.IFLA_VFINFO_LIST, *(rtnl.nested(vf.IFLA_VF_INFO, one) for one in functions))


@given(SETTINGS, st.integers(0, 63))
def test_settings_are_read_as_they_were_written(wanted: Settings, number: int) -> None:
    wanted = Settings(wanted.mac or "00:00:00:00:00:00", wanted.vlan, wanted.rates, wanted.check_source,
                      wanted.trusted, wanted.link_state)  # fmt: skip
    own = b"".join(attribute for _, attribute in wanted.encode(number))
    other = b"".join(attribute for _, attribute in Settings(mac="02:00:00:00:00:99").encode(number + 1))
    assert vf.decode(listed(other, own), number) == wanted
    assert vf.decode(listed(other), number) is None
    assert vf.decode(listed(), number) is None


def test_an_older_kernel_has_no_protocol() -> None:
    own = rtnl.attribute(vf.IFLA_VF_MAC, vf.MAC.pack(0, bytes(32))) + rtnl.attribute(
        vf.IFLA_VF_VLAN, vf.VLAN.pack(0, 7, 3)
    )
    assert vf.decode(listed(own), 0) == Settings(mac="00:00:00:00:00:00", vlan=Vlan(7, 3))


def test_only_what_is_asked_for_comes_back() -> None:
    was = Settings("02:00:00:00:00:01", Vlan(5), (0, 100), True, False, 0)
    assert was.like(Settings(vlan=Vlan(7), trusted=True)) == Settings(vlan=Vlan(5), trusted=False)
    assert not was.like(Settings())


@pytest.mark.parametrize("word", ["trust", "vlan", "MAC address", "rates", "spoofchk", "link state"])
def test_an_error_says_what_was_refused(word: str) -> None:
    every = Settings("02:00:00:00:00:01", Vlan(5), (0, 100), True, False, 0)
    assert f"set the {word} of virtual function 3 of" in [
        one.operation for one in vf.changing(Link(7, "pf0"), 3, every)
    ]
