"""What the tests of plugins that attach one interface share: their networks, and what there is of an attachment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cni_provision.net import link
from cni_provision.net.rtnl import Socket
from tests.plugins.conftest import WAYS, Namespace

REFERENCE = "/usr/lib/cni"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
RANGES = {"IPv4": [[{"subnet": "10.42.0.0/24"}]], "IPv6": [[{"subnet": "fd42::/64"}]]}
RANGES["both"] = RANGES["IPv4"] + RANGES["IPv6"]
ROUTES = {
    "IPv4": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.7.0/24", "gw": "10.42.0.9"}],
    "IPv6": [{"dst": "::/0"}],
}
ROUTES["both"] = ROUTES["IPv4"] + ROUTES["IPv6"]
SHOWN = ("dst", "gateway", "dev", "prefsrc", "scope", "metric", "table")


@dataclass(frozen=True)
class Kind:
    """A plugin, the kind of interface that the kernel has for it, and its keys; `below`: it stands on `up0`."""

    plugin: str
    link: str
    keys: dict = field(default_factory=dict)
    below: bool = False
    by_reference: bool = True  # Debian's plugins have it too
    takes: str = ""  # the device of the host that it moves

    def require(self) -> None:
        if self.link == "tun":
            if not os.access("/dev/net/tun", os.R_OK):
                pytest.skip("this kernel has no tun devices")
        else:
            require_kind(self.link)


KINDS = {
    one.plugin: one
    for one in (
        Kind("ptp", "veth"),
        Kind("dummy", "dummy", by_reference=False),
        Kind("macvlan", "macvlan", {"master": "up0"}, below=True),
        Kind("ipvlan", "ipvlan", {"master": "up0"}, below=True),
        Kind("vlan", "vlan", {"master": "up0", "vlanId": 7}, below=True),
        Kind("host-device", "veth", {"device": "dev0"}, takes="dev0"),
        Kind("tap", "tun", by_reference=False),
    )
}  # fmt: skip


@pytest.fixture
def way() -> str:
    """One way is enough for most tests of a plugin, which runs the same code on both: modules import this fixture."""
    return WAYS[-1]


def require_kind(kind: str) -> None:
    with Socket() as socket:
        if not link.supported(socket, kind):
            pytest.skip(f"this kernel has no {kind} interfaces")


def ipam(host, families: str = "both") -> dict:
    return {"type": "host-local", "dataDir": str(host.state), "ranges": RANGES[families], "routes": ROUTES[families]}


def config(host, network: str, kind: Kind, families: str = "both", **more) -> dict:
    written = {"cniVersion": "1.0.0", "name": network, "type": kind.plugin, "ipam": ipam(host, families)}
    return {**written, **kind.keys, **more}


def prepare(host, make_namespace: Callable[[], Namespace]) -> Namespace:
    """The host's `up0`, which leads to a neighbour, and `dev0`, which can be given away; returns the neighbour."""
    neighbour = make_namespace()
    for name in ("up0", "dev0"):
        add = ("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", str(neighbour.pid))
        host.namespace.run(*add)
        for side in (host.namespace, neighbour):
            side.run("ip", "link", "set", name, "up")
    return neighbour


def anonymous(result: dict, netns: str) -> dict:
    """A result without what differs from run to run, and without what older reference plugins print too much."""
    text = json.dumps(result).replace(netns, "@NETNS")
    text = re.sub(r'"veth[0-9a-f]{8}"', '"@VETH"', text)
    shown = json.loads(re.sub(r'"(?!02:00)([0-9a-f]{2}:){5}[0-9a-f]{2}"', '"@MAC"', text))
    return {key: value for key, value in shown.items() if key != "dns" or value}


def interface(namespace, name: str = "eth0") -> dict:
    """What the kernel shows of an interface."""
    found = namespace.link(name)
    assert found, namespace.links()
    info = found.get("linkinfo", {})
    return {
        "kind": info.get("info_kind"),
        "data": {key: value for key, value in info.get("info_data", {}).items() if "hash" not in key},
        "mtu": found["mtu"],
        "alias": found.get("ifalias"),
        "flags": sorted({"UP", "PROMISC", "ALLMULTI", "NOARP"} & set(found["flags"])),
        "addresses": sorted(namespace.addresses(name)),
    }


def routes(namespace) -> list[str]:
    """Routes of every table but the local one, as texts without random names."""
    found = [one for one in namespace.routes("table", "all") if one.get("table") != "local"]
    found = [one for one in found if not one["dst"].startswith(("fe80", "ff00", "multicast"))]
    texts = [" ".join(f"{key}={one[key]}" for key in SHOWN if one.get(key) not in (None, "")) for one in found]
    return sorted(re.sub("veth[0-9a-f]{8}", "@VETH", text) for text in texts if text != "dst=default table=main")


def kernel(host, container) -> dict:
    """What the kernel shows of an attachment, on both sides."""
    ends = [one for one in host.namespace.links() if re.fullmatch("veth[0-9a-f]{8}", one)]
    return {
        "container": interface(container),
        "routes": routes(container),
        "host": [{**interface(host.namespace, one), "alias": None} for one in ends],
        "host's routes": routes(host.namespace),
    }


def nothing_left(host, container, network: str) -> None:
    assert host.namespace.links() <= {"lo", "up0", "dev0"}
    assert host.leases(network) == {}
    assert "comment" not in host.namespace.nft()
    assert host.namespace.run("sh", "-c", "ls /run/cni-provision/attachments 2>/dev/null || true").split() in (
        [],
        ["lock"],
    )
    if container is not None:
        assert container.links() == {"lo"}
        assert routes(container) == []
