"""sbr after a veth pair that stands for what a plugin before has made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugins.attachments import REFERENCE, VERSIONS, routes
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
needs_reference = pytest.mark.skipif(not Path(REFERENCE, "sbr").exists(), reason="the reference is not installed")
V4 = {"address": "10.0.0.5/24", "gateway": "10.0.0.1", "interface": 0}
SECOND = {"address": "10.9.0.5/24", "gateway": "10.9.0.1", "interface": 0}
V6 = {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 0}
FAMILIES = {"IPv4": [V4], "IPv6": [V6], "two subnets": [V4, SECOND]}


@pytest.fixture
def pod(container) -> Namespace:
    """A container with another interface beside `eth0`, which has the default route."""
    for name, other in (("eth0", "p0"), ("net1", "p1")):
        container.run("ip", "link", "add", name, "type", "veth", "peer", "name", other)
        for one in (name, other):
            container.run("ip", "link", "set", one, "up")
    container.run("ip", "address", "add", "192.168.1.5/24", "dev", "eth0")
    container.run("ip", "route", "add", "default", "via", "192.168.1.1")
    return container


def give(pod: Namespace, ips: list[dict]) -> None:
    """What a plugin before does with `net1`."""
    for ip in ips:
        pod.run("ip", "address", "add", ip["address"], "dev", "net1", "nodad")
    pod.run("ip", "route", "add", "172.16.0.0/16", "via", "10.0.0.9", "dev", "net1", check=False)
    pod.run("ip", "route", "add", "fd01::/64", "via", "fd00::9", "dev", "net1", check=False)


def config(pod: Namespace, ips: list[dict], **more) -> dict:
    interfaces = [{"name": "net1", "sandbox": pod.path}]
    previous = {"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips}
    return {"cniVersion": "1.0.0", "name": "routed", "type": "sbr", "prevResult": previous, **more}


def rules(pod: Namespace) -> dict[str, str]:
    """Table by source address."""
    found = pod.ip("rule", "show") + pod.ip("-6", "rule", "show")
    return {one["src"]: one["table"] for one in found if one["src"] != "all"}


def of_main(pod: Namespace) -> list[str]:
    return [one for one in routes(pod) if "table" not in one]


@needs_reference
@pytest.mark.parametrize("ips", FAMILIES.values(), ids=FAMILIES)
def test_the_reference_does_the_same(host, make_quick, pod, ips: list[dict]) -> None:
    give(pod, ips)
    host.add(config(pod, ips), pod, ifname="net1")
    ours = (rules(pod), routes(pod))
    host.delete(config(pod, ips), pod, ifname="net1")
    assert rules(pod) == {}
    pod.run("ip", "address", "flush", "dev", "net1")
    pod.run("ip", "link", "set", "net1", "down")
    pod.run("ip", "link", "set", "net1", "up")
    give(pod, ips)
    host.add(config(pod, ips), pod, ifname="net1", path=REFERENCE)
    assert (rules(pod), routes(pod)) == ours
    host.delete(config(pod, ips), pod, ifname="net1")
    assert rules(pod) == {}


@pytest.mark.parametrize("way", WAYS)
def test_what_it_makes(host, pod) -> None:
    ips = [V4, V6]
    give(pod, ips)
    before = of_main(pod)
    result = host.add(config(pod, ips), pod, ifname="net1")
    assert result == {"cniVersion": "1.0.0", **{key: result[key] for key in ("interfaces", "ips")}}
    assert result["ips"] == ips
    assert rules(pod) == {"10.0.0.5": "100", "fd00::5": "101"}
    assert [one["dst"] for one in pod.ip("route", "show", "table", "100")] == [
        "default",
        "10.0.0.0/24",
        "172.16.0.0/16",
    ]
    assert {one["dst"] for one in pod.ip("-6", "route", "show", "table", "101")} == {
        "default",
        "fd00::/64",
        "fd01::/64",
    }
    assert [one for one in of_main(pod) if "net1" in one] == []
    assert [one for one in before if "net1" not in one] == of_main(pod)
    assert host.check(config(pod, ips), pod, result, ifname="net1").code == 0


def test_tables_that_are_there_are_left_alone(host, pod) -> None:
    give(pod, [V4])
    pod.run("ip", "route", "add", "192.0.2.0/24", "dev", "eth0", "table", "100")
    pod.run("ip", "rule", "add", "from", "192.0.2.1", "table", "101")
    host.add(config(pod, [V4]), pod, ifname="net1")
    assert rules(pod) == {"192.0.2.1": "101", "10.0.0.5": "102"}
    host.delete(config(pod, [V4]), pod, ifname="net1")
    assert rules(pod) == {"192.0.2.1": "101"}


def test_a_given_table(host, pod) -> None:
    give(pod, [V4, V6])
    before, wanted = routes(pod), config(pod, [V4, V6], table=5000)
    pod.run("ip", "rule", "add", "from", "10.0.0.5", "table", "7")
    for _ in range(2):
        result = host.add(wanted, pod, ifname="net1")
    found = pod.ip("rule", "show") + pod.ip("-6", "rule", "show")
    assert [one["table"] for one in found if one["src"] in ("10.0.0.5", "fd00::5")].count("5000") == 2
    assert routes(pod) == before
    assert host.check(wanted, pod, result, ifname="net1").code == 0
    host.delete(wanted, pod, ifname="net1")
    assert rules(pod) == {"10.0.0.5": "7"}


def test_given_gateways(host, pod) -> None:
    give(pod, [V4, V6])
    wanted = config(pod, [V4, V6], gateways=["fd00::7", "10.0.0.7"])
    result = host.add(wanted, pod, ifname="net1")
    assert [one["gateway"] for one in pod.ip("route", "show", "default", "table", "100")] == ["10.0.0.7"]
    assert [one["gateway"] for one in pod.ip("-6", "route", "show", "default", "table", "101")] == ["fd00::7"]
    assert host.check(wanted, pod, result, ifname="net1").code == 0


def test_hints_keep_the_subnets_in_the_main_table(host, pod) -> None:
    give(pod, [V4, V6])
    host.add(config(pod, [V4, V6], addSourceHints=True), pod, ifname="net1")
    (v4,) = pod.ip("route", "show", "dev", "net1")
    assert (v4["dst"], v4["prefsrc"]) == ("10.0.0.0/24", "10.0.0.5")
    v6 = [one for one in pod.ip("-6", "route", "show", "dev", "net1") if not one["dst"].startswith("fe80")]
    assert [(one["dst"], one["prefsrc"]) for one in v6] == [("fd00::/64", "fd00::5")]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"prevResult": None}, "must be called as chained plugin"),
        ({"prevResult": {"cniVersion": "1.0.0", "ips": []}}, "No IP addresses supplied on interface: net1"),
        ({"table": 0}, "`table` must be from 1 to 4294967295"),
        ({"gateways": ["10.0.0.1", "fd00::1", "10.0.0.2"]}, "`gateways` list cannot contain more than 2 entries"),
        ({"gateways": ["10.0.0.1", "10.0.0.2"]}, "`gateways` list contains multiple IPv4 addresses"),
        ({"gateways": ["10.0.0"]}, "invalid static gateway IP address: 10.0.0"),
        ({"gateways": ["192.0.2.1"]}, "cannot add route 0.0.0.0/0 via 192.0.2.1"),
    ],
)
def test_refused(host, pod, keys: dict, message: str) -> None:
    give(pod, [V4])
    before = routes(pod)
    outcome = host.call("ADD", config(pod, [V4], **keys), netns=pod.path, ifname="net1")
    assert (outcome.code, outcome.result["msg"][: len(message)]) == (1, message)
    assert (routes(pod), rules(pod)) == (before, {})


@pytest.mark.parametrize("version", [one for one in VERSIONS if one >= "0.3.0"])
def test_each_version(host, pod, version: str) -> None:
    give(pod, [V4])
    ips = [{**V4, **({"version": "4"} if version < "1.0.0" else {})}]
    wanted = config(pod, ips, cniVersion=version)
    wanted["prevResult"]["cniVersion"] = version
    result = host.add(wanted, pod, ifname="net1")
    assert result == {**wanted["prevResult"], **({"dns": {}} if version < "1.0.0" else {})}
    if version >= "0.4.0":
        assert host.check(wanted, pod, result, ifname="net1").code == 0
    host.delete(wanted, pod, ifname="net1")
    assert rules(pod) == {}


@pytest.mark.parametrize(
    ("breaking", "finding"),
    [
        ("ip rule del from 10.0.0.5", "no rule says where to look up what comes from 10.0.0.5"),
        ("ip route del default table 100", "what comes from 10.0.0.5 has no default route via 10.0.0.1"),
    ],
)
def test_check_finds(host, pod, breaking: str, finding: str) -> None:
    give(pod, [V4])
    result = host.add(config(pod, [V4]), pod, ifname="net1")
    pod.run(*breaking.split())
    outcome = host.check(config(pod, [V4]), pod, result, ifname="net1")
    assert outcome.result["msg"] == f"`net1` is not as ADD left it: {finding}"


def test_delete_when_something_is_gone(host, pod) -> None:
    give(pod, [V4])
    wanted = config(pod, [V4])
    host.delete(wanted, pod, ifname="net1")
    host.add(wanted, pod, ifname="net1")
    pod.run("ip", "link", "delete", "net1")
    host.delete(wanted, pod, ifname="net1")
    assert rules(pod) == {}
    host.delete({**wanted, "prevResult": None}, pod, ifname="net1")
    pod.end()
    host.delete(wanted, pod, ifname="net1")
    host.delete(wanted, None, ifname="net1")


@pytest.mark.parametrize("verb", ["STATUS", "GC"])
def test_nothing_to_do(host, pod, verb: str) -> None:
    wanted = config(pod, [V4], cniVersion="1.1.0", prevResult=None, **{"cni.dev/valid-attachments": []})
    outcome = host.call(verb, wanted)
    assert (outcome.code, outcome.result) == (0, None)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("way", ["cold"])
def test_a_fault_at_each_message_to_the_kernel_leaves_nothing(host, pod) -> None:
    give(pod, [V4, V6])
    before, wanted = routes(pod), config(pod, [V4, V6])
    for number in range(1, 30):
        inject = ("strace", "-o", "/dev/null", "-e", f"inject=sendto:error=ENOBUFS:when={number}")
        if host.call("ADD", wanted, netns=pod.path, ifname="net1", before=inject).code == 0:
            break
        assert (routes(pod), rules(pod)) == (before, {})
    assert 4 < number < 29
