from __future__ import annotations

from pathlib import Path

import pytest

REFERENCE = Path("/usr/lib/cni/loopback")
pytestmark = pytest.mark.root
LO = {"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "@NETNS"}
OWN = [{"interface": 0, "address": "127.0.0.1/8"}, {"interface": 0, "address": "::1/128"}]
RESULTS = {
    "0.2.0": {"ip4": {"ip": "127.0.0.1/8"}, "ip6": {"ip": "::1/128"}, "dns": {}},
    "0.4.0": {"interfaces": [LO], "ips": [{"version": v, **ip} for v, ip in zip("46", OWN)], "dns": {}},
    "1.0.0": {"interfaces": [LO], "ips": OWN},
    "1.1.0": {"interfaces": [LO], "ips": OWN},
}


def config(version: str = "1.0.0") -> dict:
    return {"cniVersion": version, "name": "lo", "type": "loopback"}


def is_up(container) -> bool:
    return "UP" in container.link("lo")["flags"]


@pytest.mark.parametrize("version", RESULTS)
def test_up_and_down(host, container, version: str) -> None:
    assert not is_up(container)
    result = host.add(config(version), container, ifname="anything")
    expected = {"cniVersion": version, **RESULTS[version]}
    if "interfaces" in expected:
        expected["interfaces"] = [{**LO, "sandbox": container.path}]
    assert result == expected
    assert is_up(container)
    assert host.add(config(version), container) == result, "again is fine"
    host.delete(config(version), container)
    assert not is_up(container)
    host.delete(config(version), container)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
def test_the_reference_says_the_same(host, container) -> None:
    ours = host.add(config(), container)
    theirs = host.add(config(), container, path=str(REFERENCE.parent))
    assert {key: value for key, value in theirs.items() if value} == ours


def test_a_previous_result_is_handed_on(host, container) -> None:
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}], "ips": [{"address": "10.0.0.2/24"}]}
    assert host.add({**config(), "prevResult": previous}, container) == previous
    assert is_up(container)


def test_check(host, container) -> None:
    result = host.add(config(), container)
    assert host.check(config(), container, result).code == 0
    container.run("ip", "link", "set", "lo", "down")
    outcome = host.check(config(), container, result)
    assert outcome.result["msg"] == f"interface `lo` in `{container.path}` is down"


def test_an_address_of_the_network_on_lo(host, container) -> None:
    container.run("ip", "address", "add", "10.0.0.9/32", "dev", "lo")
    outcome = host.call("ADD", config(), netns=container.path)
    assert outcome.result["msg"] == "loopback interface found with non-loopback address 10.0.0.9/32"
    assert not is_up(container)


def test_a_namespace_that_is_gone(host, make_namespace) -> None:
    container = make_namespace()
    container.end()
    host.delete(config(), container)
    host.delete(config(), None)
    assert host.call("ADD", config(), netns="/run/absent").result["code"] == 8


@pytest.mark.parametrize("verb", ["STATUS", "GC"])
def test_nothing_to_do(host, verb: str) -> None:
    wanted = {**config("1.1.0"), "cni.dev/valid-attachments": []}
    outcome = host.call(verb, wanted)
    assert (outcome.code, outcome.result, outcome.stderr) == (0, None, "")
