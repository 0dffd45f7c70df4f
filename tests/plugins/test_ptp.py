"""What is special to ptp; the rest is in test_drop_in."""

from __future__ import annotations

import shutil

import pytest

from tests.plugins.attachments import KINDS, REFERENCE, config, nothing_left, prepare
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
KIND = KINDS["ptp"]


@pytest.fixture
def outside(host, make_namespace) -> Namespace:
    """The neighbour of the host: it is 192.0.2.2, and knows no way to containers."""
    there = prepare(host, make_namespace)
    for side, address in ((host.namespace, "192.0.2.1"), (there, "192.0.2.2")):
        side.run("ip", "address", "add", f"{address}/24", "dev", "up0")
    return there


def wanted(host, network: str, **more) -> dict:
    return config(host, network, KIND, **more)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ipam": {}}, "`ipam` is missing"),
        ({"mtu": -1}, "`mtu` must be from 0 to 65535, not `-1`"),
        ({"ipMasqBackend": "ipset"}, "`ipMasqBackend` is an unknown ipmasq backend"),
    ],
)
def test_refused(host, container, network, keys: dict, message: str) -> None:
    outcome = host.call("ADD", wanted(host, network, **keys), netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"][: len(message)]) == (7, message)
    nothing_left(host, container, network)


def test_containers_reach_each_other_and_the_host(host, make_namespace, network) -> None:
    first, second = make_namespace(), make_namespace()
    for name, one in (("first", first), ("second", second)):
        host.add(wanted(host, network, mtu=1400), one, container_id=name)
        assert one.link("eth0")["mtu"] == 1400
    for address in ("10.42.0.1", "10.42.0.3", "fd42::1", "fd42::3"):
        assert first.pings(address), address
    assert host.namespace.pings("10.42.0.2")
    assert host.namespace.pings("fd42::2")
    host.delete(wanted(host, network), first, container_id="first")
    assert host.namespace.pings("10.42.0.3")


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
@pytest.mark.parametrize("way", WAYS)
def test_masquerading(host, container, outside, network) -> None:
    config = wanted(host, network, ipMasq=True)
    result = host.add(config, container)
    assert container.pings("192.0.2.2")
    assert host.check(config, container, result).code == 0
    host.namespace.nft("flush", "map", "inet", "cni_masquerade", "sources4")
    assert "has no entry of this attachment for `10.42.0.2`" in host.check(config, container, result).result["msg"]
    host.delete(config, None)
    nothing_left(host, container, network)


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_without_masquerading_nobody_answers(host, container, outside, network) -> None:
    host.add(wanted(host, network), container)
    assert not container.pings("192.0.2.2")


def test_masquerading_of_the_reference_is_taken_off(host, container, outside, network) -> None:
    config = wanted(host, network, ipMasq=True)
    if not shutil.which("ptp", path=REFERENCE):
        pytest.skip("the reference plugins are not installed")
    result = host.add(config, container, path=REFERENCE)
    assert "CNI-" in host.namespace.nft()
    host.delete({**config, "prevResult": result}, container)
    nothing_left(host, container, network)
    assert "CNI-" not in host.namespace.nft()


@pytest.mark.parametrize(
    ("breaking", "finding"),
    [
        ("ip address flush dev PORT", "address `10.42.0.1/32` is not on `PORT`"),
        ("ip route del 10.42.0.2/32", "route to `10.42.0.2/32` is gone"),
        ("ip link set PORT down", "interface `PORT` is down"),
        ("ip link set PORT name other", "`prevResult` has no interface `other` on that side"),
    ],
)
def test_check_looks_at_the_host(host, container, network, breaking: str, finding: str) -> None:
    result = host.add(wanted(host, network), container)
    port = result["interfaces"][0]["name"]
    host.namespace.run(*breaking.replace("PORT", port).split())
    outcome = host.check(wanted(host, network), container, result)
    assert outcome.code == 1
    assert finding.replace("PORT", port) in f"{outcome.result['msg']} {outcome.result.get('details', '')}"


def test_addresses_of_one_subnet_share_their_gateway(host, container, network) -> None:
    given = [{"address": "10.42.0.5/24", "gateway": "10.42.0.1"}, {"address": "10.42.0.6/24"}]
    config = wanted(host, network, ipam={"type": "static", "addresses": given})
    result = host.add(config, container)
    assert [one["gateway"] for one in result["ips"]] == ["10.42.0.1", "10.42.0.1"]
    assert container.addresses("eth0") == {"10.42.0.5/24", "10.42.0.6/24"}
    assert host.namespace.pings("10.42.0.6")
    assert host.check(config, container, result).code == 0
    host.delete(config, container)
    nothing_left(host, container, network)


def test_an_address_alone_in_its_subnet(host, container, network) -> None:
    given = [{"address": "10.42.0.5/32", "gateway": "169.254.1.1"}]
    config = wanted(host, network, ipam={"type": "static", "addresses": given, "routes": []})
    result = host.add(config, container)
    assert container.pings("169.254.1.1")
    assert host.check(config, container, result).code == 0
    host.delete(config, container)
    nothing_left(host, container, network)
