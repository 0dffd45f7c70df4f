"""What is special to macvlan; the rest is in test_drop_in and test_lower."""

from __future__ import annotations

import pytest

from tests.plugins.attachments import KINDS, anonymous, config, interface, nothing_left, prepare
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
KIND = KINDS["macvlan"]


@pytest.fixture
def container(make_quick) -> Namespace:
    return make_quick()


@pytest.fixture(autouse=True)
def master(host, make_namespace) -> None:
    KIND.require()
    prepare(host, make_namespace)


def wanted(host, network: str, **more) -> dict:
    return config(host, network, KIND, **more)


def without_ipam(host, network: str, **more) -> dict:
    return {key: value for key, value in wanted(host, network, **more).items() if key != "ipam"}


@pytest.mark.parametrize(
    ("keys", "code", "message"),
    [
        ({"mode": "fast"}, 7, 'unknown macvlan mode: "fast"'),
        ({"mac": "02:00"}, 7, "`02:00` is not a MAC address"),
        ({"bcqueuelen": -1}, 7, "`bcqueuelen` must be from 0 to 4294967295, not `-1`"),
    ],
)
def test_refused(host, container, network, keys: dict, code: int, message: str) -> None:
    outcome = host.call("ADD", wanted(host, network, **keys), netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"][: len(message)]) == (code, message)
    nothing_left(host, container, network)
    host.delete(wanted(host, network, **keys), container)


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru"])
def test_modes(host, container, network, mode: str) -> None:
    result = host.add(wanted(host, network, mode=mode), container)
    assert container.link("eth0")["linkinfo"]["info_data"]["mode"] == mode
    assert host.check(wanted(host, network, mode=mode), container, result).code == 0
    other = "private" if mode != "private" else "vepa"
    outcome = host.check(wanted(host, network, mode=other), container, result)
    assert outcome.result["msg"] == f"`eth0` is not as ADD left it: `eth0` is in mode {mode}, not {other}"
    host.delete(wanted(host, network), container)
    nothing_left(host, container, network)


def test_without_addresses(host, container, network) -> None:
    config = without_ipam(host, network, cniVersion="1.1.0")
    result = host.add(config, container)
    own = {"name": "eth0", "mac": "@MAC", "sandbox": "@NETNS", "mtu": 1500}
    assert anonymous(result, container.path) == {"cniVersion": "1.1.0", "interfaces": [own]}
    shown = interface(container)
    assert (shown["addresses"], shown["flags"]) == ([], ["UP"])
    assert host.check(config, container, result).code == 0
    assert host.call("STATUS", config).code == 0
    host.delete(config, container)
    nothing_left(host, container, network)


@pytest.mark.parametrize("way", WAYS)
def test_what_it_is_given(host, container, network) -> None:
    config = without_ipam(host, network, mtu=1400, bcqueuelen=2000, mac="02:00:00:00:00:01")
    result = host.add(config, container)
    found = container.link("eth0")
    assert (found["mtu"], found["address"]) == (1400, "02:00:00:00:00:01")
    assert found["linkinfo"]["info_data"]["bcqueuelen"] == 2000
    assert result["interfaces"][0]["mac"] == "02:00:00:00:00:01"


MACS = [f"02:00:00:00:00:0{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("keys", "args", "expected"),
    [
        ({"mac": MACS[1]}, "", MACS[1]),
        ({"mac": MACS[1]}, f"IgnoreUnknown=1;MAC={MACS[2]}", MACS[2]),
        ({"mac": MACS[1], "runtimeConfig": {"mac": MACS[3]}}, f"MAC={MACS[2]}", MACS[3]),
        ({"runtimeConfig": {"Mac": "02-00-00-00-00-03"}}, "", MACS[3]),
    ],
)
def test_where_the_mac_address_is_from(host, container, network, keys: dict, args: str, expected: str) -> None:
    config = without_ipam(host, network, **keys)
    assert host.add(config, container, args=args)["interfaces"][0]["mac"] == expected
    host.delete(config, container, args=args)
