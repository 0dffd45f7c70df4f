"""Interfaces above a master, whatever their kind: macvlan, ipvlan and vlan."""

from __future__ import annotations

import pytest

from tests.plugins.attachments import KINDS, Kind, config, nothing_left, prepare
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
LOWERED = {name: one for name, one in KINDS.items() if one.below}


@pytest.fixture(params=LOWERED.values(), ids=LOWERED)
def kind(request: pytest.FixtureRequest) -> Kind:
    request.param.require()
    return request.param


@pytest.fixture
def container(make_quick) -> Namespace:
    return make_quick()


@pytest.fixture(autouse=True)
def neighbour(host, make_namespace) -> Namespace:
    return prepare(host, make_namespace)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mtu": 1501}, "invalid MTU 1501, must be [0, master MTU(1500)]"),
        ({"mtu": -1}, "invalid MTU -1, must be [0, master MTU(1500)]"),
        ({"master": "absent"}, 'failed to lookup master "absent": the host has no such interface'),
        ({"linkInContainer": True}, 'failed to lookup master "up0": the container has no such interface'),
    ],
)
def test_refused(host, container, network, kind: Kind, keys: dict, message: str) -> None:
    wanted = config(host, network, kind, **keys)
    outcome = host.call("ADD", wanted, netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"][: len(message)]) == (7, message)
    nothing_left(host, container, network)
    host.delete(wanted, container)


@pytest.mark.parametrize("way", WAYS)
def test_a_master_in_the_container(host, container, network, kind: Kind) -> None:
    container.run("ip", "link", "add", "lower", "type", "veth", "peer", "name", "other")
    for name in ("lower", "other"):
        container.run("ip", "link", "set", name, "up")
    wanted = config(host, network, kind, master="lower", linkInContainer=True)
    result = host.add(wanted, container)
    assert container.link("eth0")["link"] == "lower"
    assert host.check(wanted, container, result).code == 0
    assert host.call("STATUS", {**wanted, "cniVersion": "1.1.0"}).code == 0
    host.delete(wanted, container)
    assert container.links() == {"lo", "lower", "other"}


@pytest.mark.parametrize(
    "kind", [one for one in LOWERED.values() if one.plugin != "vlan"], ids=lambda one: one.plugin
)
def test_the_master_of_the_default_route(host, container, network, kind: Kind) -> None:
    kind.require()
    wanted = config(host, network, kind, master="")
    outcome = host.call("ADD", wanted, netns=container.path)
    assert outcome.result["msg"].startswith("no default route interface found")
    host.namespace.run("ip", "address", "add", "198.51.100.1/24", "dev", "up0")
    host.namespace.run("ip", "route", "add", "default", "via", "198.51.100.2")
    result = host.add(wanted, container)
    assert container.link("eth0")["link_index"] == host.namespace.link("up0")["ifindex"]
    assert host.check(wanted, container, result).code == 0
    host.namespace.run("ip", "route", "del", "default")
    host.delete(wanted, container)
    nothing_left(host, container, network)


def test_another_master(host, container, network, kind: Kind) -> None:
    result = host.add(config(host, network, kind), container)
    outcome = host.check(config(host, network, kind, master="dev0"), container, result)
    assert outcome.result["msg"] == "`eth0` is not as ADD left it: `eth0` is above `up0`, not `dev0`"


def test_status_without_the_master(host, network, kind: Kind) -> None:
    outcome = host.call("STATUS", config(host, network, kind, master="absent", cniVersion="1.1.0"))
    assert (outcome.result["code"], outcome.result["msg"][:33]) == (50, 'failed to lookup master "absent":')


def test_an_interface_of_the_same_name_on_the_host(host, container, network, kind: Kind) -> None:
    host.namespace.run("ip", "link", "set", "dev0", "down")
    host.namespace.run("ip", "link", "set", "dev0", "name", "eth0")
    host.add(config(host, network, kind), container)
    host.delete(config(host, network, kind), container)
    host.namespace.run("ip", "link", "set", "eth0", "name", "dev0")
    nothing_left(host, container, network)


def test_the_neighbour_is_reached(host, container, neighbour, network, kind: Kind) -> None:
    there = "up0"
    if kind.plugin == "vlan":
        there = "up0.7"
        neighbour.run("ip", "link", "add", "link", "up0", "name", there, "type", "vlan", "id", "7")
        neighbour.run("ip", "link", "set", there, "up")
    neighbour.run("ip", "address", "add", "10.42.0.1/24", "dev", there)
    neighbour.run("ip", "address", "add", "fd42::1/64", "dev", there, "nodad")
    host.add(config(host, network, kind), container)
    assert container.pings("10.42.0.1")
    assert container.pings("fd42::1")
