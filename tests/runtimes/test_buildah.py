"""Buildah attaches the container that a build step runs in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.runtimes import rootfs
from tests.runtimes.node import GATEWAYS, NETWORK, SUBNETS, Node, conflist, needs, write

pytestmark = [pytest.mark.root, needs("buildah", "runc", "busybox")]
# the flag `--cni-plugin-path` is read and not obeyed
CONFIGURATION = '[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["/opt/cni/bin"]\n'
NETWORKED = ("--network", NETWORK, "--cni-config-dir", "/etc/cni/net.d")


def buildah(node: Node) -> Callable[..., str]:
    return lambda *words: node.run("buildah", "--storage-driver", "vfs", *words).strip()


def test_a_build_step_with_a_network(node: Node) -> None:
    write(node, f"/etc/cni/net.d/10-{NETWORK}.conflist", conflist())
    write(node, "/etc/containers/containers.conf", CONFIGURATION)
    (node.folder / "rootfs.tar").write_bytes(rootfs.tree())
    run = buildah(node)
    container = run("from", "--pull-never", "scratch")
    run("add", container, str(node.folder / "rootfs.tar"), "/")
    step = ("--isolation", "oci", "--runtime", "runc", "--cap-add", "CAP_NET_RAW", *NETWORKED, container)
    command = f"ip -o addr show eth0; ping -c1 -W2 {GATEWAYS[0]}"
    shown = run("run", *step, "sh", "-c", command)
    assert f"inet {SUBNETS[4]}." in shown
    assert "1 packets received" in shown
    run("rm", container)
    assert node.left() == {}
