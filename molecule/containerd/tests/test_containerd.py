"""Pods through the Container Runtime Interface of containerd, on networks that the role made."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runtimes import rootfs
from tests.runtimes.cri import Client
from tests.vm.containers import Containers
from tests.vm.controller import SSH, on

SOCKET = "/run/containerd/containerd.sock"
PAUSE, BUSYBOX = "localhost/pause:local", "localhost/busybox:local"
# in a lab node there is no systemd, and on its overlay no second one
STARTED_BY_HAND = """
pidof containerd >/dev/null || {
mkdir -p /var/lib/containerd && mount -t tmpfs tmpfs /var/lib/containerd
setsid containerd >/run/containerd.log 2>&1 </dev/null &
}
"""
LEFT = "ls /var/lib/cni/networks/pods | grep -v -e lock -e last_ || true; ls /var/lib/cni/results"


@pytest.fixture(scope="module")
def cri(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """containerd's own socket, by way of SSH."""
    if containers.machines["kind"] == "lab":
        on("node-1", STARTED_BY_HAND)
    near = tmp_path_factory.mktemp("cri") / "socket"
    forward = [
        *SSH,
        "-o",
        "ControlPath=none",
        "-o",
        "ExitOnForwardFailure=yes",
        "-N",
        "-L",
        f"{near}:{SOCKET}",
        "node-1",
    ]
    with subprocess.Popen(forward) as forwarding:
        try:
            wait_for(near)
            with Client(str(near)) as client:
                client("Status")
                import_images()
                yield client
        finally:
            forwarding.kill()


def wait_for(file: Path) -> None:
    end = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < end, f"no {file}"
        time.sleep(0.1)


def import_images() -> None:
    for name, command in ((PAUSE, ["sleep", "3600"]), (BUSYBOX, ["sh"])):
        on(
            "node-1",
            "cat >/run/image.tar && ctr -n k8s.io images import /run/image.tar",
            given=rootfs.image(name, command),
        )


@contextmanager
def pod(cri: Client, name: str, *ports: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, list[str]]]:
    """A sandbox: its configuration, id and addresses."""
    metadata = {"name": name, "uid": name, "namespace": "default"}
    config = {"metadata": metadata, "port_mappings": list(ports), "linux": {"cgroup_parent": "/molecule"}}
    identity = cri("RunPodSandbox", config=config)["pod_sandbox_id"]
    try:
        network = cri("PodSandboxStatus", pod_sandbox_id=identity)["status"]["network"]
        yield config, identity, [network["ip"], *(one["ip"] for one in network["additional_ips"])]
    finally:
        cri("StopPodSandbox", pod_sandbox_id=identity)
        cri("RemovePodSandbox", pod_sandbox_id=identity)


def start(cri: Client, config: dict[str, Any], identity: str, command: str) -> str:
    """A container of the pod that runs a line of shell."""
    asked = {"metadata": {"name": "c"}, "image": {"image": BUSYBOX}, "command": ["sh", "-c", command], "linux": {}}
    made = cri("CreateContainer", pod_sandbox_id=identity, config=asked, sandbox_config=config)["container_id"]
    cri("StartContainer", container_id=made)
    return str(made)


def test_the_network_is_ready(cri: Client) -> None:
    conditions = {one["type"]: bool(one.get("status")) for one in cri("Status")["status"]["conditions"]}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}


def test_pods_reach_each_other_and_are_reached(cri: Client, containers: Containers) -> None:
    mapped = {"protocol": 0, "container_port": 80, "host_port": 8080}
    with pod(cri, "web", mapped) as (config, web, addresses), pod(cri, "client") as (other, client, _):
        assert [address.startswith(("10.42.0.", "fd42:")) for address in addresses] == [True, True]
        start(cri, config, web, "echo web >/tmp/index.html; httpd -f -p 80 -h /tmp")
        asking = start(cri, other, client, "sleep 3600")
        for address in addresses:
            assert "web" in fetched(cri, asking, address)
        if containers.machines["kind"] == "vm":
            port = containers.machines["machines"]["node-1"]["published"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
                assert page.read().decode().strip() == "web"
    assert on("node-1", LEFT).split() == []


def fetched(cri: Client, container: str, address: str) -> str:
    """What is served at an address, once it is."""
    line = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 80"
    end = time.monotonic() + 60
    while True:
        answer = cri("ExecSync", container_id=container, cmd=["sh", "-c", line], timeout=20).get("stdout", "")
        if answer or time.monotonic() > end:
            return str(answer)
        time.sleep(0.5)
