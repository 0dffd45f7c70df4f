from __future__ import annotations

import pytest

from cni_provision.attach import options
from cni_provision.cni.types import CNIError
from cni_provision.cni.values import Config


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ((), None),
        (("", ""), None),
        (("02:00:00:00:00:01", ""), "02:00:00:00:00:01"),
        (("02:00:00:00:00:01", "02-00-00-00-00-AB"), "02:00:00:00:00:ab"),
    ],
)
def test_the_last_mac_address_that_is_given(given: tuple[str, ...], chosen: str | None) -> None:
    assert options.mac(*given) == chosen


@pytest.mark.parametrize("written", ["02:00:00:00:00", "02:00:00:00:00:0g", "eth0", "02:00:00:00:00:01:02:03"])
def test_what_is_no_mac_address(written: str) -> None:
    with pytest.raises(CNIError) as caught:
        options.mac(written)
    assert (caught.value.code, caught.value.msg) == (7, f"`{written}` is not a MAC address")


@pytest.mark.parametrize(("raw", "number"), [({}, 0), ({"mtu": None}, 0), ({"MTU": 1400}, 1400), ({"mtu": 0}, 0)])
def test_a_number_within_bounds(raw: dict, number: int) -> None:
    assert options.within(Config(raw), "mtu", 0, 65535) == number


@pytest.mark.parametrize("number", [-1, 65536, True, "7"])
def test_a_number_outside_of_its_bounds(number: object) -> None:
    with pytest.raises(CNIError, match="`mtu` must be"):
        options.within(Config({"mtu": number}), "mtu", 0, 65535)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ({}, ""),
        ({"ipMasq": True, "ipMasqBackend": "nftables"}, "nftables"),
        ({"ipMasq": True, "ipMasqBackend": "iptables"}, "iptables"),
    ],
)
def test_masquerading(raw: dict, wanted: str) -> None:
    assert options.masquerades(Config(raw)) == wanted


def test_a_backend_that_we_do_not_have() -> None:
    with pytest.raises(CNIError, match="`ipMasqBackend`"):
        options.masquerades(Config({"ipMasqBackend": "ipset"}))
