"""What is special to vlan; the rest is in test_drop_in and test_lower."""

from __future__ import annotations

import pytest

from tests.plugins.attachments import KINDS, config, nothing_left, prepare
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
KIND = KINDS["vlan"]


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
        ({"master": ""}, '"master" field is required.'),
        ({"ipam": {}}, "`ipam` is missing"),
        ({"vlanId": -1}, "invalid VLAN ID -1 (`vlanId` must be from 0 to 4094)"),
        ({"vlanId": 4095}, "invalid VLAN ID 4095"),
    ],
)
def test_refused(host, container, network, keys: dict, message: str) -> None:
    outcome = host.call("ADD", wanted(host, network, **keys), netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"][: len(message)]) == (7, message)
    nothing_left(host, container, network)
    host.delete(wanted(host, network, **keys), container)


@pytest.mark.parametrize(("keys", "mtu"), [({}, 1500), ({"mtu": 1400}, 1400), ({"vlanId": 4094}, 1500)])
@pytest.mark.parametrize("way", WAYS)
def test_what_it_is_given(host, container, network, keys: dict, mtu: int) -> None:
    config = wanted(host, network, **keys)
    result = host.add(config, container)
    shown = container.link("eth0")
    assert (shown["linkinfo"]["info_data"]["id"], shown["mtu"]) == (config["vlanId"], mtu)
    assert host.check(config, container, result).code == 0
    for other, finding in (({"vlanId": 8}, f"is in VLAN {config['vlanId']}, not 8"), ({"mtu": 1300}, "not 1300")):
        assert finding in host.check({**config, **other}, container, result).result["msg"]
    host.delete(config, container)
    nothing_left(host, container, network)


def test_a_master_has_each_vlan_once(host, make_quick, container, network) -> None:
    host.add(wanted(host, network), container)
    second = make_quick()
    outcome = host.call("ADD", wanted(host, network), netns=second.path, container_id="second")
    assert "cannot make vlan interface `eth0`: File exists" in outcome.result["msg"]
    assert set(host.leases(network)) == {"10.42.0.2", "fd42::2"}
    host.delete(wanted(host, network), second, container_id="second")
    assert "eth0" in container.links()
