"""firewall between real namespaces: two bridges, containers on them, and each backend with its real program."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cni_provision.net import iptables
from tests.plugins.conftest import REFERENCE, WAYS, Host, Namespace
from tests.plugins.test_repair import repair

pytestmark = pytest.mark.root
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/firewall.yaml").read_text())
VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
BACKENDS = ("nftables", "iptables")
THEIRS = pytest.mark.skipif(not (REFERENCE / "firewall").exists(), reason="the reference plugins are not installed")
PATIENCE = 60
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="*" send_destination="*"/>
<allow receive_type="*"/></policy></busconfig>
"""


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


@dataclass
class Container:
    namespace: Namespace
    name: str
    bridge: str
    addresses: dict[int, str]


@dataclass
class Lan:
    """`a` and `b` on one bridge, `c` on another; the host forwards between them."""

    host: Host
    a: Container
    b: Container
    c: Container
    network: str

    def config(self, who: Container, version: str = "1.0.0", **options) -> dict:
        interfaces = [{"name": who.bridge}, {"name": "veth" + who.name},
                      {"name": "eth0", "sandbox": who.namespace.path}]  # fmt: skip
        ips = [{"address": f"{address}/{24 if family == 4 else 64}", "interface": 2, **
                ({"version": str(family)} if version < "1.0.0" else {})}
               for family, address in who.addresses.items()]  # fmt: skip
        before = {"cniVersion": version, "interfaces": interfaces, "ips": ips}
        return {"cniVersion": version, "name": self.network, "type": "firewall", "prevResult": before, **options}

    def add(self, who: Container, **options) -> dict:
        config = self.config(who, **options)
        result = self.host.add(config, who.namespace, container_id=who.name)
        assert result["ips"] == config["prevResult"]["ips"]
        return config

    def delete(self, who: Container, config: dict, **how) -> None:
        self.host.delete(config, who.namespace, container_id=who.name, **how)

    def said(self, who: Container, config: dict, path: str | None = None) -> str:
        """What CHECK finds; empty where all is well."""
        outcome = self.host.call("CHECK", config, netns=who.namespace.path, container_id=who.name, path=path)
        return f"{outcome.result['msg']} {outcome.result.get('details', '')}" if outcome.code else ""

    def rules(self) -> list[str]:
        """Every rule of iptables' filter tables that somebody made, and every element of ours."""
        found = []
        for program in ("iptables-save", "ip6tables-save"):
            lines = self.host.namespace.run(program, "-t", "filter").splitlines()
            found += [f"{program} {line}" for line in lines if line.startswith("-A")]
        listed = self.host.namespace.nft().splitlines()
        return found + [f"element {part.strip()}" for part in ",".join(listed).split(",") if ' comment "' in part]

    def of_containers(self) -> list[str]:
        """Those that should go with a container."""
        return [rule for rule in self.rules() if "10.42." in rule or "fd42:" in rule or rule.startswith("element ")]

    def drop_forwarded(self) -> None:
        for program in ("iptables", "ip6tables"):
            self.host.namespace.run(program, "-P", "FORWARD", "DROP")


@pytest.fixture
def lan(host: Host, make_namespace: Callable, network: str) -> Lan:
    node = host.namespace
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
             "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.all.send_redirects=0")  # fmt: skip
    made = []
    for index, (name, bridge) in enumerate((("a", "br0"), ("b", "br0"), ("c", "br1"))):
        namespace, net = make_namespace(), int(bridge[2])
        namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        lines = [] if node.link(bridge) else [
            f"link add {bridge} type bridge", f"addr add 10.42.{net}.1/24 dev {bridge}",
            f"addr add fd42:{net + 1}::1/64 dev {bridge} nodad", f"link set {bridge} up",
        ]  # fmt: skip
        lines += [f"link add veth{name} type veth peer eth0 netns {namespace.pid}",
                  f"link set veth{name} master {bridge} up"]  # fmt: skip
        node.run("ip", "-batch", "-", input="\n".join(lines))
        addresses = {4: f"10.42.{net}.{index + 2}", 6: f"fd42:{net + 1}::{index + 2}"}
        lines = ["link set lo up", "link set eth0 up", f"addr add {addresses[4]}/24 dev eth0",
                 f"addr add {addresses[6]}/64 dev eth0 nodad", f"route add default via 10.42.{net}.1",
                 f"route add default via fd42:{net + 1}::1"]  # fmt: skip
        namespace.run("ip", "-batch", "-", input="\n".join(lines))
        made.append(Container(namespace, name, bridge, addresses))
    return Lan(host, *made, network)


def reaches(one: Container, other: Container) -> bool:
    """Both families agree."""
    found = {one.namespace.pings(address) for address in other.addresses.values()}
    assert len(found) == 1
    return found.pop()


def leftovers(lan: Lan) -> list[str]:
    listed = lan.host.namespace.run("sh", "-c", "ls /run/cni-provision/attachments 2>/dev/null || true").split()
    return lan.of_containers() + [name for name in listed if name != "lock"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_comes_and_goes(lan: Lan, version: str, backend: str) -> None:
    config = lan.add(lan.a, version=version, backend=backend)
    assert len(lan.of_containers()) == 2 if backend == "nftables" else 4
    assert lan.said(lan.a, config) == ""
    lan.delete(lan.a, config)
    assert leftovers(lan) == []
    lan.delete(lan.a, config)
    assert lan.said(lan.a, config) != ""


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["about"])
def test_refused(lan: Lan, case: dict) -> None:
    config = {**lan.config(lan.a), **case["config"]}
    outcome = lan.host.call("ADD", config, netns=lan.a.namespace.path, container_id="a")
    assert (outcome.code, outcome.result["code"], outcome.result["msg"]) == (1, 7, case["message"])
    assert leftovers(lan) == []


def test_what_iptables_drops_is_forwarded_by_its_own_means(lan: Lan) -> None:
    """Nobody named a backend: what nftables accepts elsewhere would still be dropped."""
    lan.drop_forwarded()
    assert not reaches(lan.a, lan.c)
    config = lan.add(lan.a)
    assert reaches(lan.a, lan.c)
    assert not lan.c.namespace.pings(lan.b.addresses[4])
    assert any("-A CNI-FORWARD -s 10.42.0.2/32 -j ACCEPT" in rule for rule in lan.rules())
    lan.host.namespace.run("iptables", "-A", "CNI-ADMIN", "-d", lan.c.addresses[4], "-j", "DROP")
    assert not lan.a.namespace.pings(lan.c.addresses[4])
    lan.delete(lan.a, config)
    assert not lan.a.namespace.pings(lan.c.addresses[4])


def test_the_administrators_chain_of_nftables(lan: Lan) -> None:
    config = lan.add(lan.a)
    assert reaches(lan.a, lan.c)
    lan.host.namespace.nft("add", "rule", "inet", "cni_firewall", "admin", "meta", "l4proto",
                           "{ icmp, ipv6-icmp }", "drop")  # fmt: skip
    assert not reaches(lan.a, lan.c)
    lan.add(lan.b)
    assert not reaches(lan.b, lan.c), "the chain keeps its rules"
    lan.delete(lan.a, config)


def test_another_administrators_chain(lan: Lan) -> None:
    config = lan.add(lan.a, iptablesAdminChainName="NODE-ADMIN")
    first = next(rule for rule in lan.rules() if "iptables-save -A CNI-FORWARD" in rule)
    assert first.endswith("-j NODE-ADMIN")
    assert lan.said(lan.a, config) == ""
    lan.delete(lan.a, config)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bridges_with_a_policy_do_not_reach_each_other(lan: Lan, backend: str) -> None:
    policy = {"backend": backend, "ingressPolicy": "same-bridge"}
    configs = {who.name: lan.add(who, **policy) for who in (lan.a, lan.b)}
    assert reaches(lan.a, lan.b)
    assert reaches(lan.a, lan.c), "the other bridge has none yet"
    configs["c"] = lan.add(lan.c, **policy)
    assert not reaches(lan.a, lan.c)
    assert not reaches(lan.c, lan.b)
    assert lan.said(lan.a, configs["a"]) == ""
    lan.delete(lan.a, configs["a"])
    assert not reaches(lan.c, lan.b), "another container of that bridge wants the policy"
    lan.delete(lan.b, configs["b"])
    assert reaches(lan.c, lan.b)
    lan.delete(lan.c, configs["c"])
    assert leftovers(lan) == []
    assert not any("br0" in rule or "br1" in rule for rule in lan.rules())


@pytest.mark.parametrize("backend", BACKENDS)
def test_isolated_is_also_among_neighbours(lan: Lan, backend: str) -> None:
    """What the host routes from a bridge to itself is what a packet filter of the host sees."""
    for who, other in ((lan.a, lan.b), (lan.b, lan.a)):
        who.namespace.run("ip", "route", "add", other.addresses[4], "via", "10.42.0.1")
    first = lan.add(lan.a, backend=backend, ingressPolicy="isolated")
    assert not lan.a.namespace.pings(lan.b.addresses[4])
    assert lan.said(lan.a, first) == ""
    second = lan.add(lan.b, backend=backend, ingressPolicy="same-bridge")  # somebody has changed his mind
    assert lan.a.namespace.pings(lan.b.addresses[4])
    for who, config in ((lan.a, first), (lan.b, second)):
        lan.delete(who, config)
    assert leftovers(lan) == []


def test_check_sees_what_is_gone(lan: Lan) -> None:
    config = lan.add(lan.a, ingressPolicy="same-bridge")
    nft = lan.host.namespace.nft
    nft("flush", "chain", "inet", "cni_firewall", "forward")
    assert "nftables chain `cni_firewall forward` has no rules" in lan.said(lan.a, config)
    nft("flush", "ruleset")
    lan.add(lan.a, ingressPolicy="same-bridge")
    assert lan.said(lan.a, config) == ""
    nft("flush", "set", "inet", "cni_firewall", "containers6")
    nft("flush", "set", "inet", "cni_firewall", "bridges")
    found = lan.said(lan.a, config)
    assert "`cni_firewall containers6` has no entry" in found
    assert "`cni_firewall bridges` has no entry" in found
    config = lan.add(lan.b, backend="iptables", ingressPolicy="isolated")
    lan.host.namespace.run("iptables", "-D", "CNI-FORWARD", "-s", "10.42.0.3/32", "-j", "ACCEPT")
    lan.host.namespace.run("iptables", "-F", "CNI-ISOLATION-STAGE-2")
    found = lan.said(lan.b, config)
    assert "CNI-FORWARD has no rule `-s 10.42.0.3/32 -j ACCEPT`" in found
    assert "CNI-ISOLATION-STAGE-2 has no rule `-o br0" in found


def test_a_late_delete_leaves_the_next_owner_alone(lan: Lan) -> None:
    first = lan.add(lan.a)
    taken = Container(lan.b.namespace, "b", "br0", lan.a.addresses)
    lan.add(taken)
    lan.delete(lan.a, first)
    assert len(lan.of_containers()) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_prev_result_and_namespace(lan: Lan, backend: str) -> None:
    config = lan.add(lan.a, backend=backend)
    del config["prevResult"]
    lan.host.delete(config, None, container_id="a")
    assert leftovers(lan) == []


def test_without_a_record(lan: Lan) -> None:
    config = lan.add(lan.a)
    lan.host.namespace.run("sh", "-c", "rm /run/cni-provision/attachments/*.firewall")
    lan.delete(lan.a, config)
    assert leftovers(lan) == []


def test_again_after_a_kill_with_another_backend(lan: Lan) -> None:
    lan.add(lan.a, backend="iptables")
    config = lan.add(lan.a, backend="nftables")
    assert len(lan.of_containers()) == 2
    lan.delete(lan.a, config)
    assert leftovers(lan) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_failure_in_the_middle_leaves_nothing(lan: Lan) -> None:
    """Somebody's table of our name has a set of another type."""
    lan.host.namespace.nft("add table inet cni_firewall; add set inet cni_firewall bridges { type ipv4_addr; }")
    for options in ({"ingressPolicy": "same-bridge"}, {}):
        config = lan.config(lan.a, backend="nftables", **options)
        outcome = lan.host.call("ADD", config, netns=lan.a.namespace.path, container_id="a")
        assert outcome.code == 1
        assert "datatype mismatch" in outcome.result["msg"]
        assert leftovers(lan) == []


@pytest.mark.parametrize("way", WAYS)
def test_gc_keeps_what_is_valid(lan: Lan) -> None:
    policy = {"ingressPolicy": "same-bridge"}
    config = lan.add(lan.a, version="1.1.0", backend="iptables")
    lan.add(lan.b, **policy)
    lan.add(lan.c, **policy)
    del config["prevResult"]
    valid = [{"containerID": "b", "ifname": "eth0"}]
    for _ in range(2):
        outcome = lan.host.call("GC", {**config, "cni.dev/valid-attachments": valid})
        assert outcome.code == 0, outcome
        left = " ".join(lan.of_containers())
        assert [one for one in ("10.42.0.2", "10.42.0.3", "fd42:1::3", "10.42.1.4") if one in left] == [
            "10.42.0.3",
            "fd42:1::3",
        ]
        bridges = lan.host.namespace.nft("list", "set", "inet", "cni_firewall", "bridges")
        assert "br0" in bridges
        assert "br1" not in bridges


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"backend": "iptables"}, {"ingressPolicy": "isolated"}])
def test_status(lan: Lan, options: dict) -> None:
    config = lan.config(lan.a, version="1.1.0", **options)
    del config["prevResult"]
    assert lan.host.call("STATUS", config).code == 0
    assert leftovers(lan) == []


def test_status_without_firewalld(lan: Lan) -> None:
    outcome = lan.host.call("STATUS", lan.config(lan.a, version="1.1.0", backend="firewalld"))
    assert (outcome.result["code"], outcome.result["msg"]) == (50, "firewalld is not running")


@THEIRS
@pytest.mark.parametrize("policy", ["open", "same-bridge", "isolated"])
def test_the_reference_makes_the_same_and_each_takes_the_others(lan: Lan, policy: str) -> None:
    config, theirs = lan.config(lan.a, backend="iptables", ingressPolicy=policy), str(REFERENCE)
    outcome = lan.host.call("ADD", config, netns=lan.a.namespace.path, container_id="a", path=theirs)
    if outcome.code and "unknown ingress policy" in outcome.result["msg"]:
        pytest.skip(f"this version of the reference has no policy {policy}")
    made = lan.rules()
    assert lan.said(lan.a, config) == ""
    lan.delete(lan.a, config)
    assert leftovers(lan) == []
    for program in ("iptables", "ip6tables"):
        lan.host.namespace.run("sh", "-c", f"{program} -F && {program} -X")
    lan.add(lan.a, backend="iptables", ingressPolicy=policy)
    assert [iptables.bare(rule) for rule in lan.rules()] == [iptables.bare(rule) for rule in made]
    assert lan.said(lan.a, config, path=theirs) == ""
    lan.delete(lan.a, config, path=theirs)
    assert lan.of_containers() == []
    lan.delete(lan.a, config)
    assert leftovers(lan) == []


@THEIRS
def test_what_the_reference_left_goes_whatever_backend_is_ours(lan: Lan) -> None:
    config = lan.config(lan.a)
    lan.host.add(config, lan.a.namespace, container_id="a", path=str(REFERENCE))
    assert len(lan.of_containers()) == 4
    lan.delete(lan.a, {**config, "backend": "nftables"})
    assert leftovers(lan) == []


@pytest.fixture
def daemon(lan: Lan, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A real firewalld on a bus of its own, in the host's namespaces; gives `firewall-cmd`."""
    absent = [
        name
        for name in ("dbus-daemon", "firewalld", "firewall-cmd")
        if not shutil.which(name, path="/usr/sbin:/usr/bin")
    ]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed")
    (tmp_path / "bus.conf").write_text(BUS)
    lan.host.namespace.run("mkdir", "-p", "/run/dbus")
    started = []
    for argv in (("dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--nopidfile"),
                 ("firewalld", "--nofork", "--nopid", f"--log-file={tmp_path}/firewalld.log")):  # fmt: skip
        started.append(subprocess.Popen(
            lan.host.namespace.enter(*argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ))  # fmt: skip
        wait_for(lambda: lan.host.namespace.succeeds("test", "-S", "/run/dbus/system_bus_socket"))
    wait_for(lambda: lan.host.namespace.succeeds("firewall-cmd", "--state"))
    yield lambda *words: lan.host.namespace.run("firewall-cmd", *words, check=False)
    for process in reversed(started):
        process.terminate()
        process.wait(PATIENCE)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("way", WAYS)
def test_firewalld(lan: Lan, daemon: Callable[..., str]) -> None:
    """It is chosen because it runs."""
    config = lan.add(lan.a, version="1.1.0")
    assert set(daemon("--zone=trusted", "--list-sources").split()) == {"10.42.0.2/32", "fd42:1::2/128"}
    assert lan.said(lan.a, config) == ""
    lan.add(lan.a, version="1.1.0")
    daemon("--reload")
    assert "firewalld's zone `trusted` has no source 10.42.0.2/32" in lan.said(lan.a, config)
    lan.add(lan.a, version="1.1.0")
    assert lan.said(lan.a, config) == ""
    assert lan.host.call("STATUS", config).code == 0
    lan.delete(lan.a, config)
    assert daemon("--zone=trusted", "--list-sources").split() == []
    lan.delete(lan.a, config)
    other = lan.add(lan.b, firewalldZone="internal", ingressPolicy="same-bridge")
    assert len(daemon("--zone=internal", "--list-sources").split()) == 2
    assert lan.said(lan.b, other) == ""
    lan.delete(lan.b, other)
    assert leftovers(lan) == []
    if (REFERENCE / "firewall").exists():
        config = lan.config(lan.a)
        lan.host.add(config, lan.a.namespace, container_id="a", path=str(REFERENCE))
        assert lan.said(lan.a, config) == ""
        lan.delete(lan.a, config)
        lan.add(lan.a)
        assert lan.said(lan.a, lan.config(lan.a), path=str(REFERENCE)) == ""
        lan.delete(lan.a, lan.config(lan.a), path=str(REFERENCE))
        assert daemon("--zone=trusted", "--list-sources").split() == []
    outcome = lan.host.call("ADD", lan.config(lan.a, firewalldZone="nowhere"), netns=lan.a.namespace.path)
    assert "INVALID_ZONE" in outcome.result["msg"]


def test_what_was_flushed_comes_back(lan: Lan) -> None:
    config = lan.add(lan.a, ingressPolicy="same-bridge")
    assert repair(lan.host) == [""]
    lan.host.namespace.nft("flush", "ruleset")
    assert "nftables table `cni_firewall` had lost 1 chain and 4 entries" in repair(lan.host)[0]
    assert lan.said(lan.a, config) == ""
    assert repair(lan.host) == [""]
