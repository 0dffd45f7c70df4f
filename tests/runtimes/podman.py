"""Podman with its CNI backend, on a node."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.runtimes import rootfs
from tests.runtimes.node import NETWORK, Node

IMAGE = "localhost/busybox:local"
SERVE = "echo served > /tmp/index.html; exec httpd -f -p 80 -h /tmp"  # busybox' wget crashes here, its httpd does not
CONFIGURATION = f"""
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
default_network = "{NETWORK}"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"] # more than that is not permitted everywhere
"""


@dataclass(frozen=True)
class Podman:
    node: Node

    def __call__(self, *words: str, check: bool = True) -> str:
        return self.node.run(
            "env", f"CONTAINERS_CONF={self.node.folder}/containers.conf", "podman", *words, check=check
        )

    def run(self, name: str, *options: str, command: str = "exec sleep 600") -> str:
        """A container in the background; its id."""
        group = ("--cgroup-parent", f"/{self.node.cgroup}")
        return self("run", "-d", "--name", name, *group, *options, IMAGE, "sh", "-c", command).strip()

    def networks(self, name: str) -> dict[str, dict]:
        """Network → what Podman shows about the container in it."""
        return json.loads(self("inspect", name))[0]["NetworkSettings"]["Networks"]

    def remove(self, *names: str) -> None:
        self("rm", "-f", "-t0", *names)


def installed(node: Node) -> Podman:
    """Configured, with the image."""
    (node.folder / "containers.conf").write_text(CONFIGURATION)
    (node.folder / "rootfs.tar").write_bytes(rootfs.tree())
    podman = Podman(node)
    podman("import", "-q", str(node.folder / "rootfs.tar"), IMAGE)
    return podman
