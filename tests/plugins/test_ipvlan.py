"""What is special to ipvlan; the rest is in test_drop_in and test_lower."""

from __future__ import annotations

import pytest

from tests.plugins.attachments import KINDS, config, nothing_left, prepare
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
KIND = KINDS["ipvlan"]


@pytest.fixture
def container(make_quick) -> Namespace:
    return make_quick()


@pytest.fixture(autouse=True)
def master(host, make_namespace) -> None:
    KIND.require()
    prepare(host, make_namespace)


def wanted(host, network: str, **more) -> dict:
    return config(host, network, KIND, **more)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mode": "l4"}, 'unknown ipvlan mode: "l4"'),
        ({"ipam": {}}, "`ipam` is missing, and there are no addresses of a plugin before to take over"),
    ],
)
def test_refused(host, container, network, keys: dict, message: str) -> None:
    outcome = host.call("ADD", wanted(host, network, **keys), netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"][: len(message)]) == (7, message)
    nothing_left(host, container, network)
    host.delete(wanted(host, network, **keys), container)


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_modes(host, container, network, mode: str) -> None:
    result = host.add(wanted(host, network, mode=mode, mtu=1400), container)
    shown = container.link("eth0")
    assert (shown["linkinfo"]["info_data"]["mode"], shown["mtu"]) == (mode, 1400)
    assert host.check(wanted(host, network, mode=mode), container, result).code == 0
    other = "l3" if mode != "l3" else "l2"
    outcome = host.check(wanted(host, network, mode=other), container, result)
    assert outcome.result["msg"] == f"`eth0` is not as ADD left it: `eth0` is in mode {mode}, not {other}"
    host.delete(wanted(host, network), container)
    nothing_left(host, container, network)


PREVIOUS = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "up0"}],
    "ips": [{"address": "10.42.0.7/24", "gateway": "10.42.0.1", "interface": 0}],
    "routes": [{"dst": "0.0.0.0/0"}],
}


def test_in_a_chain_master_and_addresses_are_those_of_the_plugin_before(host, container, network) -> None:
    config = {"cniVersion": "1.0.0", "name": network, "type": "ipvlan", "prevResult": PREVIOUS}
    result = host.add(config, container)
    assert [one["name"] for one in result["interfaces"]] == ["eth0"]
    assert container.addresses("eth0") == {"10.42.0.7/24"}
    assert host.check(config, container, result).code == 0
    host.delete({**config, "prevResult": result}, container)
    host.delete({**config, "prevResult": None}, container)
    assert container.links() == {"lo"}


@pytest.mark.parametrize("interfaces", [[], [{"name": ""}], [{"name": "up0"}, {"name": "dev0"}]])
def test_in_a_chain_the_master_must_be_clear(host, container, network, interfaces: list) -> None:
    previous = {**PREVIOUS, "interfaces": interfaces, "ips": []}
    config = {"cniVersion": "1.0.0", "name": network, "type": "ipvlan", "prevResult": previous}
    outcome = host.call("ADD", config, netns=container.path)
    assert outcome.result["msg"] == "chained master failure. PrevResult lacks a single named interface"
    nothing_left(host, container, network)


@pytest.mark.parametrize("way", WAYS)
def test_in_a_chain_ipam_goes_before_the_addresses_of_the_plugin_before(host, container, network) -> None:
    config = wanted(host, network, prevResult=PREVIOUS)
    host.add(config, container)
    assert container.addresses("eth0") == {"10.42.0.2/24", "fd42::2/64"}
    host.delete(config, container)
    nothing_left(host, container, network)
