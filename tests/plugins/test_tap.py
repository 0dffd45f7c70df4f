"""What is special to tap; the rest is in test_drop_in."""

from __future__ import annotations

import os

import pytest

from tests.plugins.attachments import KINDS, config, interface, nothing_left
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS

pytestmark = pytest.mark.root
KIND = KINDS["tap"]
MACS = [f"02:00:00:00:00:0{number}" for number in range(4)]


@pytest.fixture(autouse=True)
def needed() -> None:
    KIND.require()


def bare(network: str, **keys) -> dict:
    return {"cniVersion": "1.0.0", "name": network, "type": "tap", **keys}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mtu": -1}, "`mtu` must be from 0 to 65535, not `-1`"),
        ({"mac": "02:00"}, "`02:00` is not a MAC address"),
        ({"owner": -1}, "`owner` must be from 0 to 4294967295, not `-1`"),
        ({"group": "kvm"}, "`group` must be an integer"),
        ({"bridge": "absent"}, "failed to get bridge absent: the container has no such bridge"),
        ({"bridge": "lo"}, "failed to get bridge lo: the container has no such bridge"),
    ],
)
def test_refused(host, container, network, keys: dict, message: str) -> None:
    outcome = host.call("ADD", bare(network, **keys), netns=container.path)
    assert (outcome.code, outcome.result["msg"][: len(message)]) == (1, message)
    nothing_left(host, container, network)
    host.delete(bare(network), container)


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({}, {}),
        ({"multiQueue": True}, {"multi_queue": True}),
        ({"owner": 4242}, {"user": 4242}),
        ({"group": 0}, {"group": "root"}),
        ({"owner": 0, "group": 4242, "multiQueue": True}, {"user": "root", "group": 4242, "multi_queue": True}),
    ],
)
def test_what_it_is(host, container, network, keys: dict, shown: dict) -> None:
    result = host.add(bare(network, **keys, mtu=1400, mac=MACS[1]), container)
    data = container.link("eth0")["linkinfo"]["info_data"]
    present = {key: data[key] for key in ("user", "group") if key in data}
    assert (data["type"], data["persist"], data["pi"]) == ("tap", True, False)
    assert {**present, **({"multi_queue": True} if data["multi_queue"] else {})} == shown
    assert (interface(container)["mtu"], interface(container)["flags"]) == (1400, ["UP"])
    assert result["interfaces"] == [{"name": "eth0", "mac": MACS[1], "sandbox": container.path}]
    config = bare(network, mtu=1400)
    assert host.check(config, container, result).code == 0
    container.run("ip", "link", "set", "eth0", "mtu", "1300")
    assert host.check(config, container, result).result["msg"].endswith("`eth0` has the MTU 1300, not 1400")
    host.delete(config, container)
    nothing_left(host, container, network)


@pytest.mark.parametrize(
    ("keys", "args", "expected"),
    [
        ({"mac": MACS[1]}, f"IgnoreUnknown=1;MAC={MACS[2]}", MACS[2]),
        ({"mac": MACS[1], "runtimeConfig": {"mac": MACS[3]}}, f"MAC={MACS[2]}", MACS[3]),
    ],
)
def test_where_the_mac_address_is_from(host, container, network, keys: dict, args: str, expected: str) -> None:
    assert host.add(bare(network, **keys), container, args=args)["interfaces"][0]["mac"] == expected


@pytest.mark.parametrize("way", WAYS)
def test_in_a_bridge_of_the_container(host, container, network) -> None:
    container.run("ip", "link", "add", "br0", "type", "bridge")
    result = host.add(bare(network, bridge="br0"), container)
    assert container.link("eth0")["master"] == "br0"
    assert host.check(bare(network, bridge="br0"), container, result).code == 0
    container.run("ip", "link", "set", "eth0", "nomaster")
    outcome = host.check(bare(network, bridge="br0"), container, result)
    assert outcome.result["msg"].endswith("`eth0` has no place in bridge `br0`")
    host.delete(bare(network, bridge="br0"), container)
    assert container.links() == {"lo", "br0"}


def test_addresses_are_usable_though_nobody_has_it_open(host, container, network) -> None:
    host.add(config(host, network, KIND), container)
    found = {one["local"]: one.get("tentative", False) for one in container.link("eth0")["addr_info"]}
    assert (found["10.42.0.2"], found["fd42::2"]) == (False, False)


@pytest.mark.skipif(os.path.isdir("/sys/fs/selinux"), reason="this host has SELinux")
def test_without_selinux_there_is_no_context(host, container, network) -> None:
    wanted = bare(network, selinuxContext="system_u:system_r:container_t:s0", cniVersion="1.1.0")
    outcome = host.call("ADD", wanted, netns=container.path)
    assert outcome.result["msg"].startswith(
        "cannot make tap interface `eth0` in context system_u:system_r:container_t:s0"
    )
    nothing_left(host, container, network)
    assert host.call("STATUS", wanted).result["code"] == 50
