"""Values as the collection `ansible.utils` gives them."""

from __future__ import annotations

import pytest

from cni_provision.errors import NeedsAnsible
from cni_provision.inventory.networkfilters import ipaddr, ipmath, ipsubnet, ipv4, ipv6, nthhost


@pytest.mark.parametrize(
    ("value", "query", "result"),
    [
        ("10.0.0.5/24", "", "10.0.0.5/24"),
        ("10.0.0.5/24", "address", "10.0.0.5"),
        ("10.0.0.0/24", "address", None),
        ("10.0.0.0/31", "address", "10.0.0.0"),
        ("fd00::/64", "address", "fd00::"),
        ("10.0.0.5/24", "network", "10.0.0.0"),
        ("10.0.0.5", "network", "10.0.0.5"),
        ("10.0.0.5/24", "netmask", "255.255.255.0"),
        ("10.0.0.5/24", "prefix", 24),
        ("10.0.0.5/24", "subnet", "10.0.0.0/24"),
        ("10.0.0.5/24", "broadcast", "10.0.0.255"),
        ("10.0.0.0/24", "size", 256),
        ("10.0.0.0/24", 1, "10.0.0.1/24"),
        ("10.0.0.0/24", "-1", "10.0.0.255/24"),
        ("10.0.0.0/24", 300, False),
        ("nonsense", "", False),
    ],
)
def test_ipaddr(value: str, query: object, result: object) -> None:
    assert ipaddr(value, query) == result


def test_versions_are_kept_apart() -> None:
    assert [ipv4("10.0.0.1"), ipv4("fd00::1"), ipv6("10.0.0.1"), ipv6("fd00::1")] == [
        "10.0.0.1",
        False,
        False,
        "fd00::1",
    ]


def test_subnets_and_positions() -> None:
    assert ipsubnet("10.0.0.0/24", 26) == "4"
    assert ipsubnet("10.0.0.0/24", "26", -1) == "10.0.0.192/26"
    assert ipsubnet("10.0.0.0/24", 26, 4) is False
    assert ipsubnet("fd00::/48", 64, 2) == "fd00:0:0:2::/64"
    assert nthhost("10.0.0.0/24", 9) == "10.0.0.9"
    assert nthhost("10.0.0.0/24", 256) is False
    assert ipmath("10.0.0.250/24", 10) == "10.0.1.4"


@pytest.mark.parametrize(
    "refused",
    [
        lambda: ipaddr("10.0.0.5/24", "revdns"),
        lambda: ipaddr("10.0.0.5", 1),
        lambda: ipaddr(167772160),
        lambda: ipsubnet("10.0.0.5/24", 26),
        lambda: ipsubnet("10.0.0.0/24", "10.0.0.0/8"),
    ],
)
def test_what_only_ansible_knows(refused: object) -> None:
    with pytest.raises(NeedsAnsible, match="only Ansible knows"):
        refused()  # type: ignore[operator]
