from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[1] / "cases" / "bridge"
REFERENCE = Path("/usr/lib/cni/bridge")
pytestmark = pytest.mark.root


def cases(folder: str) -> list:
    return [
        pytest.param(json.loads(file.read_text()), id=file.stem) for file in sorted((CASES / folder).glob("*.json"))
    ]


def filled(config: dict, host, network: str) -> dict:
    """A case's configuration with this test's network name and lease directory."""
    text = json.dumps(config).replace("@NETWORK", network).replace("@STATE", str(host.state))
    return json.loads(text)


def anonymous(result: dict, netns: str) -> dict:
    """A result without what differs from run to run."""
    text = json.dumps(result).replace(netns, "@NETNS")
    text = re.sub(r'"veth[0-9a-f]{8}"', '"@VETH"', text)
    shown = json.loads(re.sub(r'"(?!02:00)([0-9a-f]{2}:){5}[0-9a-f]{2}"', '"@MAC"', text))
    if shown.get("dns") == {}:  # older reference plugins print it where 1.0 does not ask for it
        del shown["dns"]
    return shown


def seen(host, container, ifname: str = "eth0", bridge: str = "cni0") -> dict:
    """What the kernel shows of an attachment, with one way of writing for our plugin's and the reference's."""
    inner, made = container.link(ifname), host.namespace.link(bridge)
    outer = next(one for one in host.namespace.ip("link", "show") if one.get("master") == bridge)
    port = outer["linkinfo"]["info_slave_data"]
    routes = [one for one in container.routes() if one.get("protocol") != "kernel" and one["dst"] != "ff00::/8"]
    return {
        "addresses": sorted(container.addresses(ifname)),
        "routes": sorted(f"{one['dst']} via {one.get('gateway')}" for one in routes),
        "up": "UP" in inner["flags"],
        "mtu": [made["mtu"], outer["mtu"], inner["mtu"]],
        "mac": inner["address"] if inner["address"].startswith("02:00") else "@MAC",
        "bridge addresses": sorted(host.namespace.addresses(bridge)),
        "promiscuous": "PROMISC" in made["flags"],
        "hairpin": port["hairpin"],
        "isolated": port["isolated"],
        "forwarding": [host.namespace.run("sysctl", "-n", f"net.{key}").strip() for key in FORWARDING],
        "accept_ra": host.namespace.run("sysctl", "-n", f"net.ipv6.conf.{outer['ifname']}.accept_ra").strip(),
        "arp_notify": container.run("sysctl", "-n", f"net.ipv4.conf.{ifname}.arp_notify").strip(),
    }


FORWARDING = ("ipv4.ip_forward", "ipv6.conf.all.forwarding")


def nothing_left(host, container, network: str) -> None:
    """Only what belongs to the network as a whole may stay: the bridge, empty tables."""
    assert host.namespace.links() <= {"lo", "cni0"}
    assert host.leases(network) == {}
    assert "comment" not in host.namespace.nft()
    if container is not None:
        assert container.links() == {"lo"}


def config(host, network: str, **more) -> dict:
    ipam = {"type": "host-local", "dataDir": str(host.state), "ranges": [[{"subnet": "10.42.0.0/24"}]]}
    return {"cniVersion": "1.1.0", "name": network, "type": "bridge", "bridge": "cni0", "ipam": ipam, **more}


@pytest.mark.parametrize("case", cases("refused"))
def test_refused(host, container, network, case) -> None:
    wanted = filled(case["config"], host, network)
    outcome = host.call("ADD", wanted, netns=container.path, args=case.get("args", ""))
    assert outcome.code == 1
    assert (outcome.result["code"], outcome.result["msg"][: len(case["message"])]) == (case["code"], case["message"])
    nothing_left(host, container, network)


@pytest.mark.parametrize("case", cases("added"))
def test_added(host, container, network, case) -> None:
    wanted, args = filled(case["config"], host, network), case.get("args", "")
    result = host.add(wanted, container, args=args)
    shown = {"result": anonymous(result, container.path), "kernel": seen(host, container)}
    shown["result"].pop("name", None)
    assert shown == case["expect"]
    if wanted["cniVersion"] >= "0.4.0":
        assert host.check(wanted, container, result, args=args).code == 0
    host.delete(wanted, container, args=args)
    nothing_left(host, container, network)
    host.delete(wanted, container, args=args)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
@pytest.mark.parametrize("case", [one for one in cases("added") if one.values[0].get("reference", True)])
def test_the_reference_does_the_same(host, container, network, case) -> None:
    wanted = filled(case["config"], host, network)
    result = host.add(wanted, container, args=case.get("args", ""), path=str(REFERENCE.parent))
    assert {"result": anonymous(result, container.path), "kernel": seen(host, container)} == case["expect"]
    host.delete(wanted, container, args=case.get("args", ""))
    nothing_left(host, container, network)
