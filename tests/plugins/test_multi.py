"""multi: one container on several networks, by static lists and by what its pod's annotations name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.plugins.conftest import WAYS, Host, Namespace

pytestmark = pytest.mark.root
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/multi.yaml").read_text())
POD = "io.kubernetes.cri.pod-annotations"
NETWORKS, DEFAULT = "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"
VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
SUBNETS = {"pods": 1, "lab": 2, "wifi": 3}


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


@dataclass
class Site:
    """`pods` is a conflist of the configuration, `lab` and `wifi` are files."""

    host: Host
    name: str
    folder: Path

    def network(self, name: str) -> dict:
        number = SUBNETS[name]
        routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        ipam = {"type": "host-local", "dataDir": str(self.host.state), "routes": routes,
                "ranges": [[{"subnet": f"10.{number}.0.0/24"}], [{"subnet": f"fd0{number}::/64"}]]}  # fmt: skip
        can = {"ips": True, "mac": True}
        return {"type": "bridge", "bridge": f"br-{name}", "isGateway": True, "capabilities": can,
                "ipam": ipam}  # fmt: skip

    def config(self, version: str = "1.1.0", annotations: dict | None = None, **more) -> dict:
        tuning = {"type": "portmap", "capabilities": {"portMappings": True}}
        pods = {"name": f"{self.name}-pods", "cniVersion": version, "plugins": [self.network("pods"), tuning]}
        runtime = {"runtimeConfig": {POD: annotations}} if annotations else {}
        return {"cniVersion": version, "name": self.name, "type": "multi", "confDir": str(self.folder),
                "capabilities": {POD: True}, "delegates": [pods], **runtime, **more}  # fmt: skip

    def leases(self) -> list[str]:
        return sorted(
            one for name in SUBNETS for one in self.host.leases(f"{self.name}-{name}" if name == "pods" else name)
        )

    def nothing_left(self, container: Namespace | None) -> None:
        assert self.leases() == []
        assert not [name for name in self.host.namespace.links() if name.startswith("veth")]
        records = self.host.namespace.run("sh", "-c", "ls /run/cni-provision/attachments 2>/dev/null || true").split()
        assert [name for name in records if name != "lock"] == []
        if container:
            assert container.links() == {"lo"}


@pytest.fixture
def site(host: Host, network: str, tmp_path: Path) -> Site:
    folder = tmp_path / "conf"
    folder.mkdir()
    made = Site(host, network, folder)
    (folder / "10-lab.conflist").write_text(
        json.dumps({"name": "lab", "cniVersion": "1.0.0", "plugins": [made.network("lab")]})
    )
    (folder / "20-wifi.conf").write_text(json.dumps({"name": "wifi", "cniVersion": "0.4.0", **made.network("wifi")}))
    return made


def interfaces(container: Namespace) -> dict[str, set[str]]:
    """Name → what its addresses begin with."""
    return {
        name: {one.replace("fd0", "").split(":")[0].removeprefix("10.")[0] for one in container.addresses(name)}
        for name in container.links() - {"lo"}
    }


@pytest.mark.parametrize(("way", "version"), [*((WAYS[-1], one) for one in VERSIONS), (WAYS[0], VERSIONS[-1])])
def test_one_network_in_every_version(site: Site, container: Namespace, version: str) -> None:
    config = site.config(version)
    result = site.host.add(config, container)
    assert (result["cniVersion"], interfaces(container)) == (version, {"eth0": {"1"}})
    if version >= "0.4.0":
        assert site.host.check(config, container, result).code == 0
    site.host.delete({**config, "prevResult": result}, container)
    site.nothing_left(container)
    site.host.delete(config, container)
    site.host.delete(config, None)


@pytest.mark.parametrize("named", [
    {"annotations": {NETWORKS: "lab, other/wifi@wlan0"}},
    {"annotations": {NETWORKS: '[{"name": "lab"}, {"name": "wifi", "namespace": "x", "interface": "wlan0"}]'}},
    {"args": {"cni": {"networks": ["lab", {"name": "wifi", "interface": "wlan0"}]}}},
    {"delegates": [], "args": {"cni": {"networks": ["pods", "lab", "wifi@wlan0"]}}},
])  # fmt: skip
def test_networks_that_somebody_names(site: Site, container: Namespace, named: dict) -> None:
    pods = {"name": "pods", "cniVersion": "1.0.0", "plugins": [site.network("pods")]}
    (site.folder / "30-pods.conflist").write_text(json.dumps(pods))
    config = site.config(**named)
    result = site.host.add(config, container)
    assert interfaces(container) == {"eth0": {"1"}, "net1": {"2"}, "wlan0": {"3"}}
    assert [one["name"] for one in result["interfaces"] if "sandbox" in one] == ["eth0"]
    assert site.host.check(config, container, result).code == 0
    container.run("ip", "addr", "flush", "dev", "wlan0")
    assert site.host.check(config, container, result).code == 1
    site.host.delete({**config, "prevResult": result}, container)
    assert container.links() == {"lo"}


def test_by_arguments(site: Site, container: Namespace) -> None:
    site.host.add(site.config(), container, args="IgnoreUnknown=1;NETWORKS=lab@eth7")
    assert interfaces(container) == {"eth0": {"1"}, "eth7": {"2"}}


def test_a_static_list_of_names(site: Site, container: Namespace) -> None:
    config = site.config(delegates=["lab", "wifi"], default="wifi")
    result = site.host.add(config, container)
    assert interfaces(container) == {"eth0": {"3"}, "net1": {"2"}}
    assert result["ips"][0]["address"].startswith("10.3.")


def test_another_default_network(site: Site, container: Namespace) -> None:
    site.host.add(site.config(annotations={DEFAULT: "kube-system/lab", NETWORKS: "wifi"}), container)
    assert interfaces(container) == {"eth0": {"2"}, "net1": {"3"}}


@pytest.mark.parametrize(("annotation", "found"), [
    ({}, {"eth0": {"2"}}), ({"cni": "wifi"}, {"eth0": {"3"}}), ({"cni": "wifi,lab"}, {"eth0": {"3"}, "net1": {"2"}}),
])  # fmt: skip
def test_one_of_several(site: Site, container: Namespace, annotation: dict, found: dict) -> None:
    config = site.config(delegates=["lab", "wifi"], choose="one", annotations={"other": "thing", **annotation})
    result = site.host.add(config, container)
    assert interfaces(container) == found
    site.host.delete({**config, "prevResult": result}, container)
    site.nothing_left(container)


def test_capabilities_go_to_the_network_that_they_are_for(site: Site, container: Namespace) -> None:
    wish = [{"name": "lab", "ips": ["10.2.0.77/24"], "mac": "02:00:00:00:00:77"}]
    config = site.config(annotations={NETWORKS: json.dumps(wish)})
    config["runtimeConfig"]["portMappings"] = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    site.host.add(config, container)
    assert "10.2.0.77/24" in container.addresses("net1")
    assert container.link("net1")["address"] == "02:00:00:00:00:77"
    assert "8080" in site.host.namespace.nft()
    site.host.delete(config, container)
    assert "8080" not in site.host.namespace.nft()
    site.nothing_left(container)


def test_the_default_route_goes_where_it_is_wanted(site: Site, container: Namespace) -> None:
    def defaults() -> dict:
        return {one.get("dev"): one.get("gateway") for one in container.routes() if one["dst"] == "default"}

    wish = [{"name": "lab", "default-route": ["10.2.0.1"]}]
    config = site.config(annotations={NETWORKS: json.dumps(wish)})
    site.host.add(config, container)
    assert set(defaults()) == {"net1"}
    site.host.delete(config, container)
    site.nothing_left(container)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_fails_takes_all_before_it_with_it(site: Site, container: Namespace) -> None:
    broken = {"name": "broken", "cniVersion": "1.0.0", "plugins": [{**site.network("wifi"), "mtu": -1}]}
    (site.folder / "05-broken.conflist").write_text(json.dumps(broken))
    config = site.config(annotations={NETWORKS: "lab,broken"})
    outcome = site.host.call("ADD", config, netns=container.path)
    assert (outcome.code, "`mtu`" in outcome.result["msg"]) == (1, True)
    site.nothing_left(container)


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["about"])
def test_refused(site: Site, container: Namespace, case: dict) -> None:
    outcome = site.host.call("ADD", {**site.config(), **case["config"]}, netns=container.path)
    assert (outcome.code, outcome.result["code"]) == (1, 7)
    assert outcome.result["msg"].startswith(case["message"])
    site.nothing_left(container)


def test_delete_without_a_record_and_namespace(site: Site, container: Namespace) -> None:
    config = site.config(annotations={NETWORKS: "lab"})
    site.host.add(config, container)
    site.host.namespace.run("sh", "-c", "rm /run/cni-provision/attachments/*.multi")
    site.host.delete(config, None)
    assert site.leases() == []


def test_delete_knows_what_was_added_though_the_files_have_gone(site: Site, container: Namespace) -> None:
    config = site.config(annotations={NETWORKS: "lab,wifi"})
    site.host.add(config, container)
    for file in site.folder.iterdir():
        file.unlink()
    site.host.delete(site.config(), container)
    site.nothing_left(container)


@pytest.mark.parametrize("way", WAYS)
def test_gc_keeps_what_is_valid(site: Site, make_namespace) -> None:
    both = {"annotations": {NETWORKS: "lab"}}
    for name in ("one", "two"):
        site.host.add(site.config(**both), make_namespace(), container_id=name)
    keep = [{"containerID": "two", "ifname": "eth0"}]
    for _ in range(2):
        outcome = site.host.call("GC", {**site.config(), "cni.dev/valid-attachments": keep})
        assert outcome.code == 0, outcome
        assert site.leases() == ["10.1.0.3", "10.2.0.3", "fd01::3", "fd02::3"]
    assert site.host.call("GC", {**site.config(), "cni.dev/valid-attachments": []}).code == 0
    site.nothing_left(None)


def test_status_is_that_of_the_delegates(site: Site) -> None:
    assert site.host.call("STATUS", site.config()).code == 0
    site.host.namespace.run("ip", "link", "add", "br-pods", "type", "ifb")
    outcome = site.host.call("STATUS", site.config())
    assert (outcome.code, outcome.result["code"]) == (1, 50)
