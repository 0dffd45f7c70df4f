"""tuning after a veth pair that stands for what a plugin before has made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.plugins.attachments import REFERENCE, VERSIONS, anonymous
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
needs_reference = pytest.mark.skipif(not Path(REFERENCE, "tuning").exists(), reason="the reference is not installed")
MAC = "02:00:00:00:00:01"
OTHER_MAC = "02:00:00:00:00:02"
SAVED = "/run/cni/tuning/container-1_eth0.json"


@pytest.fixture
def pod(container) -> Namespace:
    """A container with an `eth0` of which everything is known."""
    container.run("ip", "link", "add", "eth0", "address", MAC, "type", "veth", "peer", "name", "other")
    container.run("ip", "link", "set", "eth0", "up")
    return container


def previous(pod: Namespace, version: str = "1.0.0") -> dict:
    if version < "0.3.0":
        return {"cniVersion": version, "ip4": {"ip": "10.0.0.5/24"}}
    family = {"version": "4"} if version < "1.0.0" else {}
    interfaces = [{"name": "veth1"}, {"name": "eth0", "mac": MAC, "sandbox": pod.path}]
    ips = [{**family, "address": "10.0.0.5/24", "interface": 1}]
    return {"cniVersion": version, "interfaces": interfaces, "ips": ips}


def config(pod: Namespace, **more) -> dict:
    return {"cniVersion": "1.0.0", "name": "tuned", "type": "tuning", "prevResult": previous(pod), **more}


def seen(pod: Namespace) -> dict:
    found = pod.link("eth0")
    assert found
    return {
        "mac": found["address"],
        "mtu": found["mtu"],
        "txqlen": found.get("txqlen", 0),
        "promisc": found["promiscuity"],
        "allmulti": "ALLMULTI" in found["flags"],
        "filter": pod.run("sysctl", "-n", "net.ipv4.conf.eth0.arp_filter").strip(),
        "queue": pod.run("sysctl", "-n", "net.core.somaxconn").strip(),
    }


def files(host) -> list[str]:
    listed = host.namespace.run("sh", "-c", "ls -d /run/cni/tuning/* /run/cni-provision/attachments/* || true")
    return [line for line in listed.split() if not line.endswith("/lock")]


CHANGES = {
    "mac": ({"mac": OTHER_MAC}, {"mac": OTHER_MAC}),
    "mtu": ({"mtu": 1400}, {"mtu": 1400}),
    "queue": ({"txQLen": 20000}, {"txqlen": 20000}),
    "no queue": ({"txQLen": 0}, {"txqlen": 0}),
    "promisc": ({"promisc": True}, {"promisc": 1}),
    "promisc false": ({"promisc": False}, {}),
    "mtu 0": ({"mtu": 0}, {}),
    "allmulti": ({"allmulti": True}, {"allmulti": True}),
    "allmulti false": ({"allmulti": False}, {}),
    "sysctl": ({"sysctl": {"net.core.somaxconn": "500"}}, {"queue": "500"}),
    "sysctl of the interface": ({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}, {"filter": "1"}),
    "sysctl with slashes": ({"sysctl": {"net/ipv4/conf/eth0/arp_filter": "1"}}, {"filter": "1"}),
    "everything": (
        {"mac": OTHER_MAC, "mtu": 1400, "txQLen": 7, "promisc": True, "allmulti": True,
         "sysctl": {"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1"}},
        {"mac": OTHER_MAC, "mtu": 1400, "txqlen": 7, "promisc": 1, "allmulti": True, "filter": "1", "queue": "500"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "changed"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("way", WAYS)
def test_changed_and_put_back(host, pod, keys: dict, changed: dict) -> None:
    before = seen(pod)
    wanted = config(pod, **keys)
    result = host.add(wanted, pod)
    assert seen(pod) == {**before, **changed}
    assert result["interfaces"][1]["mac"] == changed.get("mac", MAC)
    assert host.check(wanted, pod, result).code == 0
    for _ in range(2):
        host.delete(wanted, pod)
        assert seen(pod) == before
        assert files(host) == []


KNOWN = [one for one in CHANGES if "slashes" not in one and "queue" not in one]  # Debian's is older than txQLen


def without_queue(values: dict, key: str) -> dict:
    return {name: value for name, value in values.items() if name != key}


@needs_reference
@pytest.mark.parametrize("name", KNOWN)
def test_the_reference_does_the_same(host, pod, name: str) -> None:
    keys, changed = (without_queue(each, key) for each, key in zip(CHANGES[name], ("txQLen", "txqlen")))
    before, wanted = seen(pod), config(pod, **keys)
    result = host.add(wanted, pod, path=REFERENCE)
    assert seen(pod) == {**before, **changed}
    host.delete(wanted, pod, path=REFERENCE)
    pod.run("sysctl", "-qw", f"net.core.somaxconn={before['queue']}", "net.ipv4.conf.eth0.arp_filter=0")
    assert anonymous(host.add(wanted, pod), pod.path) == anonymous(result, pod.path)


@needs_reference
@pytest.mark.parametrize("ours_first", [True, False], ids=["there", "back"])
def test_switching_over(host, pod, ours_first: bool) -> None:
    keys = {key: value for key, value in CHANGES["everything"][0].items() if key not in ("sysctl", "txQLen")}
    before, wanted = seen(pod), config(pod, **keys)
    first, second = (host.path, REFERENCE) if ours_first else (REFERENCE, host.path)
    host.namespace.run("mkdir", "-p", "/run/cni")
    result = host.add(wanted, pod, path=first)
    assert host.check(wanted, pod, result, path=second).code == 0
    host.delete(wanted, pod, path=second)
    assert seen(pod) == before
    host.delete(wanted, pod)
    assert files(host) == []


SOURCES = [
    ({"mac": OTHER_MAC}, f"MAC={MAC}", {"mac": MAC}),
    ({"mac": OTHER_MAC, "runtimeConfig": {"mac": "02:00:00:00:00:03"}}, f"MAC={MAC}", {"mac": "02:00:00:00:00:03"}),
    (
        {"runtimeConfig": {"mac": "02:00:00:00:00:03"}, "args": {"cni": {"mac": "02:00:00:00:00:04"}}},
        f"IgnoreUnknown=true;MAC={MAC};K8S_POD_NAME=x",
        {"mac": "02:00:00:00:00:04"},
    ),
    ({"mtu": 1400, "args": {"cni": {"mtu": 1300, "txQLen": 9}}}, "", {"mtu": 1300, "txqlen": 9}),
    ({"promisc": True, "args": {"cni": {"promisc": False, "allmulti": True}}}, "", {"allmulti": True}),
    ({"args": {"cni": {"sysctl": {"net.core.somaxconn": "600"}}}}, "", {"queue": "600"}),
    (
        {"sysctl": {"net.core.somaxconn": "500"}, "args": {"cni": {"sysctl": {"net.core.somaxconn": "600"}}}},
        "",
        {"queue": "600"},
    ),
]


@pytest.mark.parametrize(("keys", "args", "changed"), SOURCES)
def test_where_values_come_from(host, pod, keys: dict, args: str, changed: dict) -> None:
    before = seen(pod)
    result = host.add(config(pod, **keys), pod, args=args)
    assert seen(pod) == {**before, **changed}
    assert host.check(config(pod, **keys), pod, result, args=args).code == 0
    host.delete(config(pod, **keys), pod, args=args)
    assert seen(pod) == before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"prevResult": None}, "must be called as chained plugin"),
        ({"mac": "02:00"}, "`02:00` is not a MAC address"),
        ({"mtu": -1}, "`mtu` must be from 0 to 4294967295, not `-1`"),
        ({"txQLen": "7"}, "`txQLen` must be an integer"),
        ({"sysctl": {"kernel.hostname": "x"}}, 'invalid net sysctl key: "kernel.hostname"'),
        ({"sysctl": {"net/../kernel/hostname": "x"}}, 'invalid net sysctl key: "net/../kernel/hostname"'),
        ({"sysctl": {"net.absent": "1"}}, "the container has no sysctl `net/absent`"),
        ({"sysctl": {"net.core.somaxconn": 500}}, "`sysctl.net.core.somaxconn` must be text"),
        (
            {"sysctl": {"net.core.somaxconn": "500", "net/core/somaxconn": "600"}},
            "duplicated sysctl keys are not allowed",
        ),
        (
            {"sysctl": {"net.core.somaxconn": "many"}, "mtu": 1400},
            "cannot write `many` to `/proc/sys/net/core/somaxconn`",
        ),
        ({"mtu": 7, "sysctl": {"net.core.somaxconn": "500"}}, "cannot change interface `eth0`"),
    ],
)
def test_refused(host, pod, keys: dict, message: str) -> None:
    before = seen(pod)
    outcome = host.call("ADD", config(pod, **keys), netns=pod.path)
    assert (outcome.code, outcome.result["msg"][: len(message)]) == (1, message)
    assert seen(pod) == before
    assert files(host) == []


def test_a_key_that_is_there_twice(host, pod) -> None:
    """JSON's readers keep one of the two."""
    text = json.dumps(config(pod, sysctl={"net.core.somaxconn": "500"}))
    text = text.replace('"500"', '"500", "net.core.somaxconn": "600"')
    executable = shutil.which("tuning", path=host.path)
    environment = [f"{key}={value}" for key, value in {
        "CNI_COMMAND": "ADD", "CNI_PATH": host.path, "CNI_NETNS": pod.path, "CNI_CONTAINERID": "c",
        "CNI_IFNAME": "eth0",
    }.items()]  # fmt: skip
    said = host.namespace.run("env", *environment, executable, check=False, input=text)
    assert json.loads(said)["msg"] == "duplicated sysctl keys are not allowed"


@pytest.mark.parametrize(
    ("lines", "key", "allowed"),
    [
        ("^net.core.somaxconn$", "net.core.somaxconn", True),
        ("\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n", "net.ipv4.conf.IFNAME.arp_filter", True),
        ("somax", "net.core.somaxconn", True),
        ("^net.ipv4", "net.core.somaxconn", False),
        ("", "net.core.somaxconn", False),
        ("(", "net.core.somaxconn", None),
    ],
)
def test_the_list_of_what_is_allowed(host, pod, lines: str, key: str, allowed: bool | None) -> None:
    host.namespace.run("mount", "-t", "tmpfs", "tmpfs", "/etc")
    host.namespace.run("sh", "-c", "mkdir -p /etc/cni/tuning && cat > /etc/cni/tuning/allowlist.conf", input=lines)
    wanted = config(pod, sysctl={key: "1"})
    outcome = host.call("ADD", wanted, netns=pod.path)
    if allowed:
        assert outcome.code == 0
    elif allowed is None:
        assert "`(` is no regular expression" in outcome.result["msg"]
    else:
        assert outcome.result["msg"].startswith(f"Sysctl {key} is not allowed. Only the following")
        assert host.call("STATUS", {**wanted, "cniVersion": "1.1.0", "prevResult": None}).result["code"] == 7
    host.delete(wanted, pod)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version(host, pod, version: str) -> None:
    wanted = config(pod, cniVersion=version, prevResult=previous(pod, version), mac=OTHER_MAC, mtu=1400)
    result = host.add(wanted, pod)
    expected = {**wanted["prevResult"], **({"dns": {}} if version < "1.0.0" else {})}
    if version >= "0.3.0":
        mtu = {"mtu": 1400} if version == "1.1.0" else {}
        expected["interfaces"][1] = {"name": "eth0", "mac": OTHER_MAC, "sandbox": pod.path, **mtu}
    assert result == expected
    if version >= "0.4.0":
        assert host.check(wanted, pod, result).code == 0
    host.delete(wanted, pod)


@pytest.mark.parametrize(
    ("breaking", "finding"),
    [
        ("ip link set eth0 mtu 1300", "`mtu` of `eth0` is 1300, not 1400"),
        ("ip link set eth0 address 02:00:00:00:00:09", "`mac` of `eth0` is 02:00:00:00:00:09, not 02:00:00:00:00:02"),
        ("ip link set eth0 promisc off", "`promisc` of `eth0` is False, not True"),
        ("ip link set eth0 allmulticast off", "`allmulti` of `eth0` is False, not True"),
        ("ip link set eth0 txqueuelen 8", "`txQLen` of `eth0` is 8, not 7"),
        ("sysctl -qw net.core.somaxconn=7", "sysctl `net/core/somaxconn` is 7, not 500"),
        ("ip link delete eth0", "interface `eth0` is gone"),
    ],
)
def test_check_finds(host, pod, breaking: str, finding: str) -> None:
    wanted = config(pod, **CHANGES["everything"][0])
    result = host.add(wanted, pod)
    pod.run(*breaking.split())
    assert host.check(wanted, pod, result).result["msg"] == f"`eth0` is not as ADD left it: {finding}"


def test_check_leaves_alone_what_is_not_configured(host, pod) -> None:
    wanted = config(pod, mtu=1400)
    result = host.add(wanted, pod)
    pod.run("ip", "link", "set", "eth0", "promisc", "on")
    assert host.check(wanted, pod, result).code == 0


def test_an_interface_with_a_dot(host, container) -> None:
    container.run("ip", "link", "add", "eth0.7", "type", "veth", "peer", "name", "other")
    wanted = config(container, sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"}, prevResult=previous(container))
    host.add(wanted, container, ifname="eth0.7")
    assert container.run("cat", "/proc/sys/net/ipv4/conf/eth0.7/arp_filter").strip() == "1"
    host.delete(wanted, container, ifname="eth0.7")


def test_a_second_add_keeps_what_was_before_the_first(host, pod) -> None:
    before, wanted = seen(pod), config(pod, **CHANGES["everything"][0])
    host.add(wanted, pod)
    host.add(wanted, pod)
    host.delete(wanted, pod)
    assert seen(pod) == before


@pytest.mark.parametrize("content", ["", "{", '{"mtu": "x", "mac": 7, "sysctl": {"net.absent": 1}, "promisc": null}'])
def test_a_broken_backup_is_no_obstacle(host, pod, content: str) -> None:
    wanted = config(pod, mtu=1400)
    host.add(wanted, pod)
    host.namespace.run("sh", "-c", f"cat > {SAVED}", input=content)
    host.delete(wanted, pod)
    assert files(host) == []


def test_delete_when_something_is_gone(host, make_namespace, pod) -> None:
    wanted = config(pod, mtu=1400, sysctl={"net.core.somaxconn": "500"})
    host.delete(wanted, pod)
    host.add(wanted, pod)
    pod.run("ip", "link", "delete", "eth0")
    host.delete({**wanted, "prevResult": None}, pod)
    assert files(host) == []
    pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    host.add(wanted, pod)
    pod.end()
    host.delete(wanted, pod)
    host.delete(wanted, None)
    assert files(host) == []


def test_gc(host, pod, tmp_path) -> None:
    wanted = config(pod, cniVersion="1.1.0", mtu=1400, dataDir=str(tmp_path), prevResult=previous(pod, "1.1.0"))
    host.add(wanted, pod)
    file = tmp_path / "container-1_eth0.json"
    assert json.loads(file.read_text())["mtu"] == 1500
    valid = [{"containerID": "container-1", "ifname": "eth0"}]
    for others in ({"name": "other", "cni.dev/valid-attachments": []}, {"cni.dev/valid-attachments": valid}):
        assert host.call("GC", {**wanted, **others}).code == 0
        assert file.exists()
    for _ in range(2):
        assert host.call("GC", {**wanted, "cni.dev/valid-attachments": []}).code == 0
        assert (file.exists(), files(host)) == (False, [])


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("way", ["cold"])
@pytest.mark.parametrize("fault", ["error=EIO", "signal=KILL"])
@pytest.mark.parametrize(("syscall", "last"), [("sendto", 5), ("pwrite64", 6)])
def test_a_fault_at_each_step_leaves_nothing(host, pod, fault: str, syscall: str, last: int) -> None:
    before, wanted = seen(pod), config(pod, **CHANGES["everything"][0])
    for number in range(1, last + 1):
        inject = f"inject={syscall}:{fault}:when={number}"
        outcome = host.call("ADD", wanted, netns=pod.path, before=("strace", "-o", "/dev/null", "-e", inject))
        if outcome.code == 0:
            break
        if fault == "signal=KILL":
            host.delete(wanted, pod)
        assert seen(pod) == before
        assert files(host) == []
    assert 1 < number < last
