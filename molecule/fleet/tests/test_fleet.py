"""Three machines that one command provisioned: each works, they reach each other, one comes back after a start."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from tests.vm.containers import Containers
from tests.vm.controller import SSH, command_line, on

NODES = ("node-1", "node-2", "node-3")
SECONDS_TO_START = 300
LEASE = "/var/lib/cni/networks/pods"


def route(machines: dict[str, Any]) -> None:
    """Each machine's pods by way of its address, on all others."""
    for node in NODES:
        others = [
            f"ip route replace 10.42.{index}.0/24 via {machines[other]['address']}"
            for index, other in enumerate(NODES)
            if other != node
        ]
        on(node, " && ".join(others))


@pytest.fixture(scope="module")
def routed(containers: Containers) -> None:
    route(containers.machines["machines"])


def test_every_node_works() -> None:
    assert "3 nodes pass every check" in command_line("verify")


@pytest.mark.usefixtures("routed")
def test_containers_reach_those_of_other_nodes() -> None:
    said = command_line("verify", "--mesh", "--no-probe", "-v")
    assert "fail" not in said.replace("0 failed", "")


def test_the_second_plan_is_empty() -> None:
    assert "nothing to change" in command_line("plan", "--exit-code")


@pytest.mark.usefixtures("virtual")
def test_a_node_comes_back_after_a_start(containers: Containers) -> None:
    """Its units, sysctls, modules, leases and networks."""
    with containers.attached("before", "pods") as before:
        lease = f"{LEASE}/{before.address}"
        on("node-1", f"cp {lease} /root/lease && sync")
        began = on("node-1", "cat /proc/sys/kernel/random/boot_id")
        on("node-1", f"cp {lease} /root/kept")
    on("node-1", f"cp /root/kept {lease} && sync && (sleep 1; systemctl reboot) >/dev/null 2>&1 &")
    wait_for_start("node-1", began)
    assert on("node-1", "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert "br_netfilter" in on("node-1", "lsmod")
    assert on("node-1", "systemctl is-active cni-provision-server.socket").strip() == "active"
    assert on("node-1", f"cat {lease}").startswith("before")
    assert "nothing to change" in command_line("plan", "--exit-code", "-l", "node-1")
    with Containers(containers.host).attached("after", "pods") as after:
        assert f"{LEASE}/{after.address}" != lease
        assert " 0% packet loss" in after.run("ping", "-c", "3", "-W", "10", "10.42.0.1")
    on("node-1", f"rm {lease}")


def wait_for_start(node: str, began: str) -> None:
    """Until the machine has started anew, and everything on it."""
    argv = [*SSH, "-o", "ControlPath=none", "-o", "ConnectTimeout=20", node]
    look = "systemctl is-system-running --wait >/dev/null; cat /proc/sys/kernel/random/boot_id"
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        done = subprocess.run([*argv, look], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout != began:
            subprocess.run([*SSH, "-O", "exit", node], capture_output=True)
            return
        time.sleep(2)
    pytest.fail(f"{node} did not start again within {SECONDS_TO_START} s")
