"""A node for container runtimes: network, mount and process namespaces of its own, and a client outside of it.

`/etc` and `/opt` are overlays, `/run` and `/var/lib` are empty; when the node's first process is ended, the kernel
ends all others. Its files are seen from outside through `Node.file`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.plugins.conftest import HOLD_CONTAINER, Namespace

ADDRESS = "192.0.2.1"  # of the node, where `outside` reaches it
NETWORK = "pods"
SUBNETS = {4: "10.77.0", 6: "fd77:"}  # what addresses of the network begin with
GATEWAYS = ("10.77.0.1", "fd77::1")
HOLD_NODE = r"""
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
for folder in etc opt; do
  mkdir -p /run/upper/$folder /run/scratch/$folder
  mount -t overlay -o lowerdir=/$folder,upperdir=/run/upper/$folder,workdir=/run/scratch/$folder overlay /$folder
done
# with both versions of control groups mounted crun would choose the one that has no controllers
umount /sys/fs/cgroup/unified 2>/dev/null || :
mkdir -p /run/netns /run/lock /opt/cni/bin /etc/cni/net.d /etc/containers
rm -rf /etc/cni/net.d/*
ip link set lo up
trap '' CHLD # orphans come to this process, and nobody asks for them
echo ready
exec cat
"""


@dataclass(frozen=True)
class Node(Namespace):
    """`pid` is its first process; `folder` is the same folder inside and outside."""

    folder: Path

    @property
    def cgroup(self) -> str:
        """Control groups of its containers stand below this one."""
        return f"cni-provision-test-{self.pid}"

    def enter(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "--", *argv]

    def file(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root{path}")

    def left(self) -> dict[str, list[str]]:
        """What attachments have on the node and must not leave behind; nothing is shown for what has nothing."""
        found = {
            "links": sorted(name for name in self.links() if name.startswith(("veth", "ifb", "bwp"))),
            "results": self._names("/var/lib/cni/results"),
            "leases": [
                name for name in self._names("/var/lib/cni/networks", "*/*") if "." in name[:4] or ":" in name
            ],
            "namespaces": self._names("/run/netns"),
            "records": [name for name in self._names("/run/cni-provision/attachments") if name != "lock"],
            "elements": self.elements(),
        }
        return {what: names for what, names in found.items() if names}

    def elements(self) -> list[str]:
        """Elements of named nftables sets and maps, as JSON."""
        listed = json.loads(self.nft("-j", "list", "ruleset"))["nftables"]
        tables = [one[kind] for one in listed for kind in ("set", "map") if kind in one]
        return [json.dumps(element) for table in tables for element in table.get("elem", ())]

    def _names(self, folder: str, pattern: str = "*") -> list[str]:
        return sorted(path.name for path in self.file(folder).glob(pattern))


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one of them is not installed."""
    missing = [name for name in programs if not shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin")]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def conflist(version: str = "0.4.0", *more: dict) -> dict:
    """A dual-stack network with ports; `more` plugins come after portmap."""
    ranges = [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    bridge = {
        "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
        "capabilities": {"ips": True, "mac": True},
        "ipam": {"type": "host-local", "ranges": ranges, "routes": routes},
    }  # fmt: skip
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": version, "name": NETWORK, "plugins": [bridge, portmap, *more]}


@contextmanager
def held(script: str, *flags: str) -> Iterator[int]:
    """The process that holds new namespaces, as seen from here; it ends with all that is in them."""
    command = ["unshare", *flags, "--net", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        yield int(children[0]) if children else holder.pid


@contextmanager
def made_node(plugins: Path) -> Iterator[Node]:
    """A node with these executables in /opt/cni/bin."""
    with tempfile.TemporaryDirectory(prefix="node-") as folder:  # a short path, for the sockets in it
        with held(HOLD_NODE, "--pid", "--fork", "--mount-proc") as pid:
            node = Node(pid, Path(folder))
            for executable in plugins.iterdir():
                shutil.copy2(executable, node.file("/opt/cni/bin"))
            write(node, "/etc/containers/policy.json", {"default": [{"type": "insecureAcceptAnything"}]})
            yield node
        remove_cgroups(node.cgroup)


@contextmanager
def joined(node: Node) -> Iterator[Namespace]:
    """A client beside the node, 192.0.2.2 and 2001:db8::2, that knows nothing of the node's containers."""
    with held(HOLD_CONTAINER) as pid:
        # not with the node's process namespace: the peer's number is ours
        link = ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(pid)]
        subprocess.run(["nsenter", "-t", str(node.pid), "-n", *link], check=True, timeout=30)
        client = Namespace(pid)
        for namespace, last in ((node, 1), (client, 2)):
            namespace.run("ip", "link", "set", "eth0", "up")
            namespace.run("ip", "address", "add", f"192.0.2.{last}/24", "dev", "eth0")
            namespace.run("ip", "address", "add", f"2001:db8::{last}/64", "dev", "eth0", "nodad")
        yield client


def write(node: Node, path: str, content: object) -> None:
    target = node.file(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content if isinstance(content, str) else json.dumps(content))


def remove_cgroups(name: str) -> None:
    """What a killed runtime left; groups of version 1 stand in one folder for each controller."""
    for top in [*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup", name)]:
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
