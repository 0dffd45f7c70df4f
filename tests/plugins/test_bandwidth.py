"""bandwidth on real pairs: what the kernel has, what it lets through, and the reference beside it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.plugins.conftest import REFERENCE, WAYS, Host, Namespace
from tests.plugins.test_portmap import TCP, open_in

pytestmark = pytest.mark.root
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/bandwidth.yaml").read_text())
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
BOTH = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000}
THEIRS = pytest.mark.skipif(not (REFERENCE / "bandwidth").exists(), reason="the reference plugins are not installed")


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


@dataclass
class Paired:
    """A container on a pair whose ends have addresses of both families."""

    host: Host
    container: Namespace
    network: str
    outer: str = "veth0"

    def config(self, version: str = "1.1.0", **options) -> dict:
        return {"cniVersion": version, "name": self.network, "type": "bandwidth",
                "prevResult": self.before(version), **options}  # fmt: skip

    def before(self, version: str = "1.1.0") -> dict:
        interfaces = [{"name": self.outer}, {"name": "eth0", "sandbox": self.container.path}]
        ips = [{"address": "10.42.0.2/24", "gateway": "10.42.0.1", "interface": 1}]
        ips += [{"address": "fd42::2/64", "gateway": "fd42::1", "interface": 1}]
        if version < "1.0.0":
            ips = [{**one, "version": "6" if ":" in one["address"] else "4"} for one in ips]
        return {"cniVersion": version, "interfaces": interfaces, "ips": ips}

    def ifbs(self) -> list[dict]:
        return [one for one in self.host.namespace.ip("link", "show") if kind(one) == "ifb"]

    def seen(self) -> list[str]:
        """Every queue, class and filter as tc shows them (its JSON is none for classes)."""
        found = []
        for name in sorted(self.host.namespace.links() - {"lo"}):
            for what in ("qdisc show dev @", "class show dev @", "filter show dev @ parent ffff:",
                         "filter show dev @ parent 1:"):  # fmt: skip
                shown = self.host.namespace.run("tc", *what.replace("@", name).split(), check=False)
                lines = re.sub(r"\n\s+", " ", shown.replace("ffff:fff1", "")).splitlines()
                found += [f"{name} {line}" for line in lines if "noqueue" not in line]
        return sorted(found)

    def nothing_left(self) -> None:
        assert self.ifbs() == []


def kind(one: dict) -> str:
    return one.get("linkinfo", {}).get("info_kind", "")


def join(host: Namespace, container: Namespace, outer: str, inner: str, net: int) -> None:
    lines = (f"link add {outer} type veth peer {inner} netns {container.pid}", f"link set {outer} mtu 1400 up",
             f"addr add 10.{net}.0.1/24 dev {outer}", f"addr add fd{net}::1/64 dev {outer} nodad")  # fmt: skip
    host.run("ip", "-batch", "-", input="\n".join(lines))
    lines = (f"link set {inner} mtu 1400 up", f"addr add 10.{net}.0.2/24 dev {inner}",
             f"addr add fd{net}::2/64 dev {inner} nodad")  # fmt: skip
    container.run("ip", "-batch", "-", input="\n".join(lines))


@pytest.fixture
def paired(host: Host, container: Namespace, network: str) -> Paired:
    join(host.namespace, container, "veth0", "eth0", 42)
    return Paired(host, container, network)


@pytest.mark.parametrize(("way", "version"), [*((WAYS[-1], one) for one in VERSIONS), (WAYS[0], VERSIONS[-1])])
def test_both_directions(paired: Paired, version: str) -> None:
    config = paired.config(version, **BOTH)
    result = paired.host.add(config, paired.container)
    (ifb,) = paired.ifbs()
    assert (ifb["mtu"], ifb.get("txqlen", 0), "UP" in ifb["flags"]) == (1400, 0, True)
    assert ifb["ifalias"] == f"{paired.network}/container-1/eth0"
    assert result["interfaces"][2] == {"name": ifb["ifname"], "mac": ifb["address"]}
    assert result["ips"] == config["prevResult"]["ips"]
    if version >= "0.4.0":
        assert paired.host.check(config, paired.container, result).code == 0
    paired.host.delete({**config, "prevResult": result}, paired.container)
    paired.nothing_left()
    paired.host.delete({**config, "prevResult": result}, None)


def test_an_old_version_is_refused(paired: Paired) -> None:
    config = {**paired.config("0.4.0", **BOTH), "cniVersion": "0.2.0"}
    assert paired.host.call("ADD", config, netns=paired.container.path).result["code"] == 1


@pytest.mark.parametrize("case", CASES["accepted"], ids=lambda case: case["about"])
def test_accepted(paired: Paired, case: dict) -> None:
    config = paired.config(**case["config"])
    result = paired.host.add(config, paired.container)
    shown = [line.split()[:3] for line in paired.seen() if " qdisc " in line]
    assert sorted(f"{'veth' if name == 'veth0' else 'ifb'} {kind}" for name, _, kind in shown) == case["kinds"]
    assert len(result["interfaces"]) == (3 if any(each.startswith("ifb") for each in case["kinds"]) else 2)
    assert paired.host.check(config, paired.container, result).code == 0
    paired.host.delete(config, None)
    paired.nothing_left()


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["about"])
def test_refused(paired: Paired, case: dict) -> None:
    before = paired.seen()
    config = {**paired.config(), **case["config"]}
    outcome = paired.host.call("ADD", config, netns=paired.container.path, ifname=case.get("ifname", "eth0"))
    assert outcome.code == 1
    assert (outcome.result["code"], outcome.result["msg"]) == (7, case["message"].replace("@NET", paired.network))
    assert paired.seen() == before
    paired.nothing_left()


@pytest.mark.parametrize("way", WAYS)
def test_a_failure_in_the_middle_leaves_nothing(paired: Paired) -> None:
    """The kernel has a queue for the container and an ifb when it refuses a limit that is below one byte."""
    before = paired.seen()
    config = paired.config(**{**BOTH, "egressBurst": 8, "egressRate": 2**63 - 8})
    outcome = paired.host.call("ADD", config, netns=paired.container.path)
    assert outcome.code == 1, outcome
    assert "cannot add tbf to interface `bwp" in outcome.result["msg"]
    assert paired.seen() == before
    paired.nothing_left()


def test_again_after_a_kill(paired: Paired) -> None:
    config = paired.config(**BOTH)
    first = paired.host.add(config, paired.container)
    assert paired.host.add(config, paired.container)["interfaces"][2]["name"] == first["interfaces"][2]["name"]
    assert len(paired.ifbs()) == 1
    result = paired.host.add({**config, "ingressRate": 800, "ingressBurst": 8000}, paired.container)
    assert paired.host.check(config, paired.container, result).code == 1


def test_two_interfaces_of_a_container_do_not_share(paired: Paired, host: Host) -> None:
    """The reference has one name for both."""
    join(host.namespace, paired.container, "veth1", "eth1", 43)
    second = Paired(host, paired.container, paired.network, "veth1")
    one, two = paired.config(**BOTH), second.config(**BOTH)
    results = [host.add(one, paired.container), host.add(two, paired.container, ifname="eth1")]
    assert len({result["interfaces"][2]["name"] for result in results}) == len(paired.ifbs()) == 2
    assert host.check(one, paired.container, results[0]).code == 0
    assert host.check(two, paired.container, results[1], ifname="eth1").code == 0
    host.delete({**one, "prevResult": results[0]}, paired.container)
    assert [ifb["ifalias"] for ifb in paired.ifbs()] == [f"{paired.network}/container-1/eth1"]
    host.delete({**one, "prevResult": results[0]}, paired.container)
    assert host.check(two, paired.container, results[1], ifname="eth1").code == 0
    host.delete({**two, "prevResult": results[1]}, paired.container, ifname="eth1")
    paired.nothing_left()


@pytest.mark.parametrize("way", WAYS)
def test_check_sees_what_is_gone(paired: Paired) -> None:
    config = paired.config(**BOTH)
    result = paired.host.add(config, paired.container)
    ifb = result["interfaces"][2]["name"]

    def found() -> str:
        outcome = paired.host.check(config, paired.container, result)
        return outcome.result["msg"] if outcome.code else ""

    assert found() == ""
    tc = ("tc", "qdisc")
    for change, said in (
        ((*tc, "replace", "dev", "veth0", "root", "tbf", "rate", "1mbit", "burst", "10k", "latency", "25ms"), "Rate"),
        ((*tc, "del", "dev", "veth0", "root"), "Failed to find qdisc: `veth0`"),
        ((*tc, "del", "dev", "veth0", "ingress"), f"what arrives by `veth0` is not redirected to `{ifb}`"),
        ((*tc, "del", "dev", ifb, "root"), f"Failed to find qdisc: `{ifb}`"),
        (("ip", "link", "del", ifb), f"interface `{ifb}` is gone"),
    ):
        paired.host.add(config, paired.container)
        assert found() == ""
        paired.host.namespace.run(*change)
        assert said in found()


@pytest.mark.parametrize("way", WAYS)
def test_gc_keeps_what_is_valid(paired: Paired, host: Host) -> None:
    join(host.namespace, paired.container, "veth1", "eth1", 43)
    config = paired.config(**BOTH)
    host.add(config, paired.container)
    host.add(Paired(host, paired.container, paired.network, "veth1").config(**BOTH), paired.container, ifname="eth1")
    host.namespace.run("ip", "link", "add", "bwpsomebodyelse", "type", "ifb")
    valid = [{"containerID": "container-1", "ifname": "eth1"}]
    for _ in range(2):
        outcome = host.call("GC", {**config, "cni.dev/valid-attachments": valid})
        assert outcome.code == 0, outcome
        assert [one.get("ifalias", one["ifname"]) for one in paired.ifbs()] == [
            f"{paired.network}/container-1/eth1",
            "bwpsomebodyelse",
        ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limits", [{}, BOTH, {**BOTH, "shapedSubnets": ["192.0.2.0/24", "2001:db8::/32"]}])
def test_status(paired: Paired, limits: dict) -> None:
    config = paired.config(**limits)
    del config["prevResult"]
    assert paired.host.call("STATUS", config).code == 0
    paired.nothing_left()


@THEIRS
@pytest.mark.parametrize("limits", CASES["compared"], ids=str)
def test_the_reference_makes_the_same_and_each_takes_the_others(paired: Paired, limits: dict) -> None:
    config = paired.config("1.0.0", **limits)
    theirs = paired.host.add(config, paired.container, path=str(REFERENCE))
    shown = paired.seen()
    assert paired.host.check(config, paired.container, theirs).code == 0
    paired.host.delete({**config, "prevResult": theirs}, paired.container)
    paired.nothing_left()
    for root in ("root", "ingress"):
        paired.host.namespace.succeeds("tc", "qdisc", "del", "dev", "veth0", root)
    ours = paired.host.add(config, paired.container)
    assert names(ours) == names(theirs)
    assert comparable(paired.seen()) == comparable(shown)
    theirs_says = paired.host.call(
        "CHECK", {**config, "prevResult": ours}, netns=paired.container.path, path=str(REFERENCE)
    )
    assert theirs_says.code == 0, theirs_says
    paired.host.delete({**config, "prevResult": ours}, paired.container, path=str(REFERENCE))
    paired.nothing_left()


def names(result: dict) -> list:
    return [(one["name"], one.get("sandbox", "")) for one in result["interfaces"]]


def comparable(shown: list[str]) -> list[str]:
    """Without the numbers of references; the reference says twice, and of a class, that a packet leaves elsewhere."""
    return [re.sub(r"refcnt \d+|(terminal |\*)flowid.*(?=match)|index.*", "", line) for line in shown]


def received(paired: Paired, direction: str, address: str, seconds: float) -> int:
    """How many bytes pass in that time by TCP, to the container (`ingress`) or from it."""
    near, far = paired.host.namespace, paired.container
    if direction == "egress":
        near, far = far, near
    family = 10 if ":" in address else 2
    with open_in(far, family, TCP) as server, open_in(near, family, TCP) as client:
        server.bind((address, 0))
        server.listen(1)
        client.connect((address, server.getsockname()[1]))
        taker, _ = server.accept()
        with taker:
            client.setblocking(False)
            taker.setblocking(False)
            return pump(client, taker, seconds)


def pump(client, taker, seconds: float) -> int:
    end, total, block = time.monotonic() + seconds, 0, bytes(65536)
    while time.monotonic() < end:
        for step in (lambda: client.send(block), lambda: 0):
            try:
                step()
            except BlockingIOError:
                time.sleep(0.001)
        try:
            total += len(taker.recv(1 << 20))
        except BlockingIOError:
            continue
    return total


@pytest.mark.parametrize("family", [4, 6])
def test_packets_are_paced(paired: Paired, family: int) -> None:
    """On a busy machine less passes, so that only "not more" is certain."""
    addresses = {"ingress": {4: "10.42.0.2", 6: "fd42::2"}, "egress": {4: "10.42.0.1", 6: "fd42::1"}}
    limits = {f"{way}{what}": value for way in addresses for what, value in (("Rate", 4_000_000), ("Burst", 400_000))}
    config = paired.config(**limits)
    paired.host.add(config, paired.container)
    for way, own in addresses.items():
        allowed = 500_000 * 0.5 + 50_000 + 200_000  # rate, burst, and what the sockets hold
        assert 0 < received(paired, way, own[family], 0.5) < allowed
    subnets = ["10.42.0.0/24", "fd42::/64"]
    paired.host.add({**config, "unshapedSubnets": subnets}, paired.container)
    free = {way: received(paired, way, own[family], 0.5) for way, own in addresses.items()}
    assert min(free.values()) > 0
    counted = paired.host.namespace.run("tc", "-s", "class", "show", "dev", "veth0")
    assert int(re.search(r"Sent (\d+) bytes", counted)[1]) < 20_000, "nothing of it went through the class"
