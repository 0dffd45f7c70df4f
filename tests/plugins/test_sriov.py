"""sriov with a tree of sysfs of the test's own: veth interfaces stand for a card and its functions.

What the card would be told is in `tests/net/test_vf.py`: this kernel has no card that it could be told to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.plugins.conftest import WAYS, Host, Namespace

pytestmark = pytest.mark.root
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/sriov.yaml").read_text())
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
CARD, FUNCTION, SECOND, IN_USERSPACE, BARE = (f"0000:01:00.{number}" for number in (0, 1, 4, 2, 3))


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


@dataclass
class Card:
    """`pf0` and its functions: two with interfaces, one for programs, one without anything."""

    host: Host
    network: str

    def config(self, device: str | None = FUNCTION, version: str = "1.1.0", *, dual: bool = False, **more) -> dict:
        ipam = {"type": "host-local", "dataDir": str(self.host.state),
                "ranges": [[{"subnet": "10.42.0.0/24"}]]}  # fmt: skip
        if dual:
            ipam["ranges"].append([{"subnet": "fd42::/64"}])
        found = {
            "cniVersion": version,
            "name": self.network,
            "type": "sriov",
            "deviceID": device,
            "ipam": ipam,
            **more,
        }
        return {key: value for key, value in found.items() if value is not None}

    def files(self) -> list[str]:
        listed = self.host.namespace.run("sh", "-c", "cd /var/lib/cni/sriov && find . -type f ! -name '*.lock'")
        return sorted(listed.split())

    def as_before(self) -> None:
        found = self.host.namespace.link("vf0")
        assert found, self.host.namespace.links()
        assert (found["address"], found["mtu"], "UP" in found["flags"]) == ("02:00:00:00:00:10", 1400, False)
        assert self.files() == []
        assert self.host.leases(self.network) == {}


@pytest.fixture
def card(host: Host, network: str, tmp_path: Path) -> Card:
    devices = tmp_path / "devices"
    drivers = tmp_path / "drivers"
    for name in ("vfio-pci", "igbvf"):
        (drivers / name).mkdir(parents=True)
    (devices / CARD / "net" / "pf0").mkdir(parents=True)
    for number, (address, name, driver) in enumerate(
        ((FUNCTION, "vf0", "igbvf"), (SECOND, "vf1", "igbvf"), (IN_USERSPACE, "", "vfio-pci"), (BARE, "", "igbvf"))
    ):
        folder = devices / address
        folder.mkdir()
        if name:
            (folder / "net" / name).mkdir(parents=True)
        (folder / "physfn").symlink_to(devices / CARD)
        (folder / "driver").symlink_to(drivers / driver)
        (devices / CARD / f"virtfn{number}").symlink_to(folder)
    node = host.namespace
    hide = "mkdir -p /var/lib/cni && mount -t tmpfs tmpfs /var/lib/cni"
    node.run("sh", "-c", f"mount --bind {devices} /sys/bus/pci/devices && {hide}")
    node.run("mkdir", "-p", "/var/lib/cni/sriov")
    lines = ("link add pf0 type veth peer far",
             "link add vf0 address 02:00:00:00:00:10 mtu 1400 type veth peer wire0",
             "link add vf1 type veth peer wire1", "link set wire0 up", "link set wire1 up",
             "link set pf0 up")  # fmt: skip
    node.run("ip", "-batch", "-", input="\n".join(lines))
    return Card(host, network)


@pytest.mark.parametrize(("way", "version"), [*((WAYS[-1], one) for one in VERSIONS), (WAYS[0], VERSIONS[-1])])
def test_a_function_comes_and_goes(card: Card, container: Namespace, version: str) -> None:
    config = card.config(version=version, dual=version >= "0.3.0")
    result = card.host.add(config, container)
    assert container.links() == {"lo", "eth0"}
    assert "vf0" not in card.host.namespace.links()
    wanted = {"10.42.0.2/24"} | ({"fd42::2/64"} if version >= "0.3.0" else set())
    assert container.addresses("eth0") == wanted
    assert card.files() == ["./container-1-eth0", f"./pci/{FUNCTION}"]
    if version >= "1.1.0":
        assert result["interfaces"][0]["pciID"] == FUNCTION
    if version >= "0.4.0":
        assert card.host.check(config, container, result).code == 0
    card.host.delete({**config, "prevResult": result}, container)
    assert container.links() == {"lo"}
    card.as_before()
    card.host.delete(config, container)
    card.host.delete(config, None)


def test_without_addresses_it_is_only_up(card: Card, container: Namespace) -> None:
    config = card.config(ipam={})
    result = card.host.add(config, container)
    assert "ips" not in result
    assert "UP" in container.link("eth0")["flags"]
    assert card.host.check(config, container, result).code == 0
    card.host.delete(config, container)
    card.as_before()


def test_one_for_programs_stays_where_it_is(card: Card, container: Namespace) -> None:
    config = card.config(IN_USERSPACE, dual=True)
    result = card.host.add(config, container)
    assert container.links() == {"lo"}
    assert result["interfaces"] == [{"name": "eth0", "sandbox": container.path, "pciID": IN_USERSPACE}]
    assert [ip["address"] for ip in result["ips"]] == ["10.42.0.2/24", "fd42::2/64"]
    assert card.host.check(config, container, result).code == 0
    card.host.delete(config, container)
    card.as_before()


def test_by_the_capability(card: Card, container: Namespace) -> None:
    config = card.config(None, runtimeConfig={"deviceID": FUNCTION})
    card.host.add(config, container)
    card.host.delete(config, container)
    card.as_before()


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["about"])
def test_refused(card: Card, container: Namespace, case: dict) -> None:
    config = {key: value for key, value in {**card.config(), **case["config"]}.items() if value is not None}
    outcome = card.host.call("ADD", config, netns=container.path)
    assert (outcome.code, outcome.result["code"], outcome.result["msg"]) == (1, 7, case["message"])
    assert container.links() == {"lo"}
    assert "vf0" in card.host.namespace.links()
    assert card.files() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_failure_brings_the_function_back(card: Card, container: Namespace) -> None:
    config = card.config()
    config["ipam"]["routes"] = [{"dst": "198.51.100.0/24", "gw": "203.0.113.1"}]
    assert card.host.call("ADD", config, netns=container.path).code == 1
    assert container.links() == {"lo"}
    card.as_before()
    container.run("ip", "link", "add", "eth0", "type", "veth", "peer", "other")
    outcome = card.host.call("ADD", card.config(), netns=container.path)
    assert outcome.result["msg"] == "the container has an interface `eth0` already"
    card.as_before()


def test_nobody_gets_what_another_has(card: Card, make_namespace) -> None:
    first, second = make_namespace(), make_namespace()
    card.host.add(card.config(), first)
    outcome = card.host.call("ADD", card.config(), netns=second.path, container_id="second")
    assert outcome.result["msg"] == f"pci address {FUNCTION} is already allocated"
    assert "eth0" in first.links()
    card.host.delete(card.config(), None, container_id="second")
    card.host.delete(card.config(), first)
    card.host.add(card.config(), second, container_id="second")
    card.host.namespace.run("sh", "-c", f"echo /proc/1/ns/nothing > /var/lib/cni/sriov/pci/{SECOND}")
    card.host.add(card.config(SECOND), second, container_id="second", ifname="eth1")
    assert second.links() == {"lo", "eth0", "eth1"}


def test_check_sees_what_is_gone(card: Card, container: Namespace) -> None:
    config = card.config()
    result = card.host.add(config, container)
    container.run("ip", "addr", "del", "10.42.0.2/24", "dev", "eth0")
    outcome = card.host.check(config, container, result)
    assert "address `10.42.0.2/24` is not on `eth0`" in outcome.result["msg"]


def test_the_notes_of_the_usual_plugin(card: Card, container: Namespace) -> None:
    """Of one that was attached before we came."""
    note = {"cniVersion": "0.3.1", "name": card.network, "type": "sriov", "ipam": {},
            "OrigVfState": {"HostIFName": "vf0", "SpoofChk": True, "Trust": False, "AdminMAC": "",
                            "EffectiveMAC": "02:00:00:00:00:10", "Vlan": 0, "VlanQoS": 0, "VlanProto": 0,
                            "MinTxRate": 0, "MaxTxRate": 0, "LinkState": 0, "MTU": 1400},
            "Master": "pf0", "MAC": "", "MTU": 1500, "vlan": None, "deviceID": FUNCTION, "VFID": 0}  # fmt: skip
    card.host.namespace.run("ip", "link", "set", "vf0", "name", "eth0", "netns", str(container.pid))
    container.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:11", "mtu", "1300", "up")
    card.host.namespace.run("mkdir", "-p", "/var/lib/cni/sriov/pci")
    card.host.namespace.run("tee", "/var/lib/cni/sriov/container-1-eth0", input=json.dumps(note))
    card.host.namespace.run("tee", f"/var/lib/cni/sriov/pci/{FUNCTION}", input=container.path)
    card.host.delete(card.config(), container)
    assert container.links() == {"lo"}
    card.as_before()


@pytest.mark.parametrize("way", WAYS)
def test_gc_keeps_what_is_valid(card: Card, make_namespace) -> None:
    one, two = make_namespace(), make_namespace()
    card.host.add(card.config(), one, container_id="one")
    card.host.add(card.config(SECOND), two, container_id="two")
    keep = [{"containerID": "two", "ifname": "eth0"}]
    for _ in range(2):
        outcome = card.host.call("GC", {**card.config(), "cni.dev/valid-attachments": keep})
        assert outcome.code == 0, outcome
        assert card.files() == [f"./pci/{SECOND}", "./two-eth0"]
    assert next(iter(card.host.leases(card.network).values())).startswith("two")


def test_status(card: Card) -> None:
    assert card.host.call("STATUS", card.config()).code == 0
    outcome = card.host.call("STATUS", card.config(BARE))
    assert (outcome.code, outcome.result["code"]) == (1, 50)
