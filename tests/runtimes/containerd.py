"""containerd and its CRI plugin, the way that a kubelet uses it, on a node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tests.runtimes import rootfs
from tests.runtimes.cri import Client
from tests.runtimes.node import Node

PAUSE = "localhost/pause:local"
BUSYBOX = "localhost/busybox:local"
IMAGES = {PAUSE: ["sleep", "3600"], BUSYBOX: ["sh"]}
CONFIGURATION = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""
TCP = 0


@dataclass
class Containerd:
    """A running daemon, and the pods that tests made."""

    node: Node
    daemon: subprocess.Popen[bytes]
    cri: Client

    def ctr(self, *words: str) -> str:
        return self.node.run("ctr", "-a", socket(self.node), "-n", "k8s.io", *words)

    def conditions(self) -> dict[str, bool]:
        """RuntimeReady and NetworkReady."""
        return {one["type"]: bool(one.get("status")) for one in self.cri("Status")["status"]["conditions"]}

    def pod(self, *ports: dict[str, Any], **annotations: str) -> Pod:
        name = f"pod-{uuid.uuid4().hex[:8]}"
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "default"},
            "port_mappings": list(ports),
            "annotations": annotations,
            "linux": {"cgroup_parent": f"/{self.node.cgroup}"},
        }
        return Pod(self, config, self.cri("RunPodSandbox", config=config)["pod_sandbox_id"])

    def restart(self) -> None:
        """End the daemon without a word, its pods go on, and start it again."""
        self.end()
        self.daemon = started(self.node)
        self.cri("Status")

    def end(self) -> None:
        """By SIGKILL; what we started is `nsenter`, which waits for the daemon in the node's process namespace."""
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        self.daemon.wait()


@dataclass(frozen=True)
class Pod:
    containerd: Containerd
    config: dict[str, Any]
    id: str

    @property
    def addresses(self) -> list[str]:
        network = self.status()["status"]["network"]
        return [network["ip"], *(one["ip"] for one in network["additional_ips"])]

    @property
    def netns(self) -> str:
        spec = json.loads(self.status()["info"]["info"])["runtimeSpec"]
        return next(one["path"] for one in spec["linux"]["namespaces"] if one["type"] == "network")

    def status(self) -> dict[str, Any]:
        return self.containerd.cri("PodSandboxStatus", pod_sandbox_id=self.id, verbose=1)

    def start(self, command: str) -> str:
        """A container of the pod that runs a line of shell; its id."""
        config = {"metadata": {"name": "c"}, "image": {"image": BUSYBOX}, "command": ["sh", "-c", command]}
        asked = {"pod_sandbox_id": self.id, "config": {**config, "linux": {}}, "sandbox_config": self.config}
        container = self.containerd.cri("CreateContainer", **asked)["container_id"]
        self.containerd.cri("StartContainer", container_id=container)
        return container

    def execute(self, container: str, command: str) -> str:
        """What a line of shell prints in a container."""
        answer = self.containerd.cri("ExecSync", container_id=container, cmd=["sh", "-c", command], timeout=20)
        return answer.get("stdout", "")

    def stop(self) -> None:
        self.containerd.cri("StopPodSandbox", pod_sandbox_id=self.id)

    def remove(self) -> None:
        self.stop()
        self.containerd.cri("RemovePodSandbox", pod_sandbox_id=self.id)


def socket(node: Node) -> str:
    return f"{node.folder}/containerd.sock"


def started(node: Node) -> subprocess.Popen[bytes]:
    (node.folder / "containerd.toml").write_text(CONFIGURATION.format(socket=socket(node), pause=PAUSE))
    with Path(node.folder, "containerd.log").open("ab") as log:
        command = node.enter("containerd", "--config", f"{node.folder}/containerd.toml")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextmanager
def running(node: Node) -> Iterator[Containerd]:
    """containerd with its images."""
    with Client(socket(node)) as cri:
        containerd = Containerd(node, started(node), cri)
        try:
            cri("Status")
            for name, command in IMAGES.items():
                (node.folder / "image.tar").write_bytes(rootfs.image(name, command))
                containerd.ctr("images", "import", str(node.folder / "image.tar"))
            yield containerd
        except grpc.RpcError as error:
            raise AssertionError(f"{error}\n{(node.folder / 'containerd.log').read_text()}") from error
        finally:
            containerd.end()
