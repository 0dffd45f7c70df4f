"""vrf after veth pairs that stand for what a plugin before has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.attachments import REFERENCE, require_kind, routes
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
needs_reference = pytest.mark.skipif(not Path(REFERENCE, "vrf").exists(), reason="the reference is not installed")
IPS = [{"address": "10.0.0.5/24", "interface": 0}, {"address": "fd00::5/64", "interface": 0}]


def test_a_kernel_without_says_so(host) -> None:
    if host.namespace.succeeds("ip", "link", "add", "probe", "type", "vrf", "table", "7"):
        pytest.skip("this kernel has vrf interfaces")
    outcome = host.call("STATUS", {"cniVersion": "1.1.0", "name": "net", "type": "vrf", "vrfname": "blue"})
    assert (outcome.result["code"], outcome.result["msg"]) == (50, "this kernel has no vrf interfaces")


@pytest.fixture
def pod(make_quick) -> Namespace:
    """A container with `eth0` and `eth1`, which have addresses and routes."""
    require_kind("vrf")
    made = make_quick()
    for number in (0, 1):
        give(made, f"eth{number}", f"p{number}")
    return made


def give(pod: Namespace, name: str, other: str) -> None:
    pod.run("ip", "link", "add", name, "type", "veth", "peer", "name", other)
    for one in (name, other):
        pod.run("ip", "link", "set", one, "up")
    pod.run("sysctl", "-qw", f"net.ipv6.conf.{name}.keep_addr_on_down=0")
    for ip in IPS:
        pod.run("ip", "address", "add", ip["address"], "dev", name, "nodad")
    pod.run("ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.1", "dev", name, "metric", name[-1])
    pod.run("ip", "route", "add", "fd09::/64", "via", "fd00::1", "dev", name, "metric", f"100{name[-1]}")
    pod.run("ip", "route", "add", "192.0.2.1/32", "dev", name, "metric", name[-1])


def config(pod: Namespace, **more) -> dict:
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": pod.path}], "ips": IPS}
    return {"cniVersion": "1.0.0", "name": "net", "type": "vrf", "vrfname": "blue", "prevResult": previous, **more}


def table(pod: Namespace, name: str = "blue") -> int | None:
    found = pod.link(name)
    return found["linkinfo"]["info_data"]["table"] if found else None


@pytest.mark.parametrize("keys", [{}, {"table": 1001}])
@pytest.mark.parametrize("way", WAYS)
def test_what_it_makes(host, pod, keys: dict) -> None:
    wanted = config(pod, **keys)
    result = host.add(wanted, pod)
    assert result == wanted["prevResult"]
    assert (table(pod), pod.link("eth0")["master"]) == (keys.get("table", 1), "blue")
    assert "UP" in pod.link("blue")["flags"]
    assert pod.addresses("eth0") == {"10.0.0.5/24", "fd00::5/64"}
    assert {one["dst"] for one in pod.routes("vrf", "blue") if not one["dst"].startswith(("fe80", "ff00"))} == {
        "10.0.0.0/24", "10.9.0.0/16", "192.0.2.1", "fd00::/64", "fd09::/64",
    }  # fmt: skip
    assert not [one for one in routes(pod) if "dev=eth0" in one and "table" not in one]
    assert host.check(wanted, pod, result).code == 0
    host.delete(wanted, pod)
    assert (table(pod), pod.link("eth0").get("master")) == (None, None)
    host.delete(wanted, pod)


@needs_reference
@pytest.mark.parametrize("ours_first", [True, False], ids=["there", "back"])
def test_switching_over(host, pod, ours_first: bool) -> None:
    first, second = (host.path, REFERENCE) if ours_first else (REFERENCE, host.path)
    result = host.add(config(pod), pod, path=first)
    assert table(pod) == 1
    assert pod.addresses("eth0") == {"10.0.0.5/24", "fd00::5/64"}
    assert host.check(config(pod), pod, result, path=second).code == 0
    host.delete(config(pod), pod, path=second)
    assert table(pod) is None


def test_two_interfaces_share_one(host, pod) -> None:
    for name in ("eth0", "eth1"):
        host.add(config(pod), pod, ifname=name)
    assert {pod.link(name)["master"] for name in ("eth0", "eth1")} == {"blue"}
    host.delete(config(pod), pod, ifname="eth0")
    assert (table(pod), pod.link("eth1")["master"]) == (1, "blue")
    host.delete(config(pod), pod, ifname="eth1")
    assert table(pod) is None


def test_two_interfaces_with_one_each(host, pod) -> None:
    host.add(config(pod), pod, ifname="eth0")
    host.add(config(pod, vrfname="red"), pod, ifname="eth1")
    assert (table(pod), table(pod, "red")) == (1, 2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vrfname": ""}, "configuration is expected to have a valid vrf name"),
        ({"table": -1}, "`table` must be from 0 to 4294967295, not `-1`"),
        ({"prevResult": None}, "must be called as chained plugin"),
        ({"vrfname": "p1"}, "`p1` is no vrf but `veth`"),
        ({"vrfname": "red", "table": 8}, "VRF red already exist with different routing table 7"),
    ],
)
def test_refused(host, pod, keys: dict, message: str) -> None:
    pod.run("ip", "link", "add", "red", "type", "vrf", "table", "7")
    before = routes(pod)
    outcome = host.call("ADD", config(pod, **keys), netns=pod.path)
    assert (outcome.code, outcome.result["msg"][: len(message)]) == (1, message)
    assert (routes(pod), table(pod)) == (before, None)


def test_a_port_of_something_else(host, pod) -> None:
    pod.run("ip", "link", "add", "br0", "type", "bridge")
    pod.run("ip", "link", "set", "eth0", "master", "br0")
    outcome = host.call("ADD", config(pod), netns=pod.path)
    assert outcome.result["msg"] == "interface eth0 has already a master set: br0"
    host.delete(config(pod), pod)
    assert (table(pod), pod.link("eth0")["master"]) == (None, "br0")


@pytest.mark.parametrize(
    ("breaking", "finding"),
    [
        ("ip link set eth0 nomaster", "failed to find eth0 associated to vrf blue"),
        ("ip link delete blue", "vrf `blue` is gone"),
        ("ip link delete eth0", "interface `eth0` is gone"),
    ],
)
def test_check_finds(host, pod, breaking: str, finding: str) -> None:
    result = host.add(config(pod), pod)
    pod.run(*breaking.split())
    assert host.check(config(pod), pod, result).result["msg"] == f"`eth0` is not as ADD left it: {finding}"


def test_delete_when_something_is_gone(host, pod) -> None:
    host.delete(config(pod), pod)
    host.add(config(pod), pod)
    pod.run("ip", "link", "delete", "eth0")
    host.delete({**config(pod), "prevResult": None}, pod)
    assert table(pod) is None
    pod.end()
    host.delete(config(pod), pod)
    host.delete(config(pod), None)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.1.0"])
def test_each_version(host, pod, version: str) -> None:
    previous = {"cniVersion": version, "interfaces": [{"name": "eth0", "sandbox": pod.path}]}
    wanted = config(pod, cniVersion=version, prevResult=previous)
    assert host.add(wanted, pod) == {**previous, **({"dns": {}} if version < "1.0.0" else {})}


def test_versions_that_it_does_not_speak(host, container) -> None:
    outcome = host.call("ADD", {"cniVersion": "0.2.0", "name": "net", "type": "vrf"}, netns=container.path)
    assert outcome.result["code"] == 1
