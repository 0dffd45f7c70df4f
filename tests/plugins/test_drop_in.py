"""What holds for every plugin that attaches one interface, and that the reference plugins can be replaced by ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugins.attachments import (
    KINDS,
    RANGES,
    REFERENCE,
    VERSIONS,
    Kind,
    anonymous,
    config,
    kernel,
    nothing_left,
    prepare,
)
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
needs_reference = pytest.mark.skipif(not Path(REFERENCE).exists(), reason="the reference plugins are not installed")
of_the_reference = [one for one in KINDS.values() if one.by_reference]
ONE_FAMILY = ("0.1.0", "0.2.0")


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    request.param.require()
    return request.param


@pytest.fixture(params=of_the_reference, ids=lambda one: one.plugin)
def known_kind(request: pytest.FixtureRequest) -> Kind:
    request.param.require()
    return request.param


@pytest.fixture
def container(make_quick) -> Namespace:
    return make_quick()


@pytest.fixture(autouse=True)
def masters(host, make_namespace) -> None:
    prepare(host, make_namespace)


@needs_reference
@pytest.mark.parametrize("families", RANGES)
def test_the_reference_does_the_same(host, make_quick, network, known_kind: Kind, families: str) -> None:
    wanted, found = config(host, network, known_kind, families), []
    for path in (host.path, REFERENCE):
        container = make_quick()
        result = host.add(wanted, container, path=path)
        found.append({"result": anonymous(result, container.path), "kernel": kernel(host, container)})
        host.delete({**wanted, "prevResult": result}, container, path=path)
        nothing_left(host, container, network)
        for file in (host.state / network).glob("last_reserved_ip.*"):
            file.unlink()
    assert found[0] == found[1]


@needs_reference
@pytest.mark.parametrize("ours_first", [True, False], ids=["there", "back"])
@pytest.mark.parametrize("way", WAYS)
def test_switching_over(host, container, network, known_kind: Kind, ours_first: bool) -> None:
    wanted = config(host, network, known_kind)
    before, after = (host.path, REFERENCE) if ours_first else (REFERENCE, host.path)
    result = host.add(wanted, container, path=before)
    checked = host.check(wanted, container, result, path=after)
    assert checked.code == 0, checked
    host.delete({**wanted, "prevResult": result}, container, path=after)
    host.delete(wanted, container, path=host.path)  # records and what else only ours know
    nothing_left(host, container, network)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version(host, container, network, kind: Kind, version: str) -> None:
    wanted = config(host, network, kind, cniVersion=version)
    result = host.add(wanted, container)
    assert result["cniVersion"] == version
    if version in ONE_FAMILY:
        assert (result["ip4"]["ip"], result["ip6"]["ip"]) == ("10.42.0.2/24", "fd42::2/64")
    else:
        names = [one["name"] for one in result["interfaces"] if one.get("sandbox")]
        assert (names, [one["address"] for one in result["ips"]]) == (["eth0"], ["10.42.0.2/24", "fd42::2/64"])
        assert {result["interfaces"][one["interface"]]["name"] for one in result["ips"]} == {"eth0"}
        assert [("version" in one) for one in result["ips"]] == [version < "1.0.0"] * 2
        assert [("mtu" in one) for one in result["interfaces"]] == [version == "1.1.0"] * len(result["interfaces"])
    if version >= "0.4.0":
        checked = host.check(wanted, container, result)
        assert checked.code == 0, checked
    host.delete({**wanted, "prevResult": result}, container)
    nothing_left(host, container, network)


def test_delete_when_something_is_gone(host, make_quick, network, kind: Kind) -> None:
    """Never attached; twice; no namespace; no `prevResult`; no interface; no master."""
    wanted, container = config(host, network, kind), make_quick()
    host.delete(wanted, container)
    result = host.add(wanted, container)
    for again in ({**wanted, "prevResult": result}, wanted):
        host.delete(again, container)
    nothing_left(host, container, network)
    host.add(wanted, container)
    container.run("ip", "link", "delete", "eth0")
    host.delete(wanted, container)
    nothing_left(host, container, network)
    if kind.takes:
        host.namespace.run("ip", "link", "add", kind.takes, "type", "veth", "peer", "name", "up1")
        host.namespace.run("ip", "link", "set", "up1", "up")
    host.add(wanted, container)
    if kind.below:
        host.namespace.run("ip", "link", "delete", "up0")
    container.end()
    host.delete(wanted, container)
    host.delete(wanted, None)
    assert host.leases(network) == {}


def test_the_name_is_taken(host, container, network, kind: Kind) -> None:
    container.run("ip", "link", "add", "eth0", "type", "bridge")
    outcome = host.call("ADD", config(host, network, kind), netns=container.path)
    assert outcome.result["msg"] == "the container has an interface `eth0` already"
    assert container.link("eth0")["linkinfo"]["info_kind"] == "bridge"
    container.run("ip", "link", "delete", "eth0")
    nothing_left(host, container, network)


def test_no_address(host, container, network, kind: Kind) -> None:
    wanted = config(host, network, kind, ipam={"type": "static"})
    outcome = host.call("ADD", wanted, netns=container.path)
    assert outcome.result["msg"] == "IPAM plugin returned missing IP config"
    nothing_left(host, container, network)
    assert {"up0", "dev0"} <= host.namespace.links()


def test_an_address_that_cannot_be_given_is_given_back(host, container, network, kind: Kind) -> None:
    wanted = config(host, network, kind)
    wanted["ipam"]["routes"] = [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]
    outcome = host.call("ADD", wanted, netns=container.path)
    assert "add route 10.9.0.0/16 via 192.0.2.1" in outcome.result["msg"]
    nothing_left(host, container, network)
    assert {"up0", "dev0"} <= host.namespace.links()


def test_dns(host, container, network, kind: Kind) -> None:
    wanted = config(host, network, kind, dns={"nameservers": ["192.0.2.53"], "search": ["a.example"]})
    assert host.add(wanted, container)["dns"] == wanted["dns"]


@pytest.mark.parametrize(
    ("breaking", "finding"),
    [
        ("ip address del 10.42.0.2/24 dev eth0", "address `10.42.0.2/24` is not on `eth0`"),
        ("ip route del default", "route to `0.0.0.0/0` is gone"),
        ("ip link set eth0 down", "interface `eth0` is down"),
        ("ip link delete eth0", "interface `eth0` is gone"),
    ],
)
def test_check_finds(host, container, network, kind: Kind, breaking: str, finding: str) -> None:
    wanted = config(host, network, kind)
    result = host.add(wanted, container)
    container.run(*breaking.split())
    outcome = host.check(wanted, container, result)
    assert outcome.code == 1
    found = f"{outcome.result['msg']}; {outcome.result.get('details', '')}"
    assert f"`eth0` is not as ADD left it: {finding}" in found or f"; {finding}" in found, found


def test_check_needs_the_result(host, container, network, kind: Kind) -> None:
    outcome = host.call("CHECK", config(host, network, kind), netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"]) == (7, "required prevResult missing")


@pytest.mark.parametrize("way", WAYS)
def test_status_and_gc(host, make_quick, network, kind: Kind) -> None:
    wanted = config(host, network, kind, cniVersion="1.1.0")
    outcome = host.call("STATUS", wanted)
    assert (outcome.code, outcome.result) == (0, None), outcome
    container = make_quick()
    host.add(wanted, container)
    valid = [{"containerID": "container-1", "ifname": "eth0"}]
    assert host.call("GC", {**wanted, "cni.dev/valid-attachments": valid}).code == 0
    assert set(host.leases(network)) == {"10.42.0.2", "fd42::2"}
    container.end()
    for _ in range(2):
        assert host.call("GC", {**wanted, "cni.dev/valid-attachments": []}).code == 0
    nothing_left(host, None, network)


def test_status_asks_ipam(host, network, kind: Kind) -> None:
    wanted = config(host, network, kind, cniVersion="1.1.0")
    wanted["ipam"]["ranges"] = []
    outcome = host.call("STATUS", wanted)
    assert outcome.result["msg"] == "no IP ranges specified"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("way", ["cold"])
@pytest.mark.parametrize("fault", ["error=ENOBUFS", "signal=KILL"])
def test_a_fault_at_each_message_to_the_kernel_leaves_nothing(
    host, make_quick, network, kind: Kind, fault: str
) -> None:
    wanted, looked = config(host, network, kind), 0
    for container in host.faults(wanted, fault, make_quick, 40):
        nothing_left(host, container, network)
        assert {"up0", "dev0"} <= host.namespace.links()
        looked += 1
    assert looked >= 4
