"""A lab comes up, is what it promises to be, and goes away entirely."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_provision import lab
from cni_provision.errors import LabFailed, UserError
from cni_provision.lab.state import ROOT
from tests.lab_fixture import on

pytestmark = pytest.mark.lab
OwnLab = Callable[..., lab.Lab]


def processes_below(holder: int) -> list[int]:
    """Everything in the PID namespace of the lab's holder, and in those below it."""
    space = os.stat(f"/proc/{holder}/ns/pid").st_ino
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        depth = len(status.split("NSpid:")[1].split("\n")[0].split())
        if depth > 1 and (entry / "ns/pid").stat().st_ino == space:
            found.append(int(entry.name))
    return found


def gone(pids: list[int]) -> bool:
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.01)
    return False


class TestNode:
    def test_has_its_own_name_and_network(self, shared_lab: lab.Lab) -> None:
        assert on(shared_lab, "node-2", "hostname") == "node-2\n"
        addresses = on(shared_lab, "node-2", "ip", "-brief", "address", "show", "eth0")
        assert "10.200.1.2/16" in addresses
        assert "fd10:200::1:2/64" in addresses
        assert on(shared_lab, "node-2", "ls", "/sys/class/net").split() == ["eth0", "lo"]

    def test_reaches_the_others_and_nothing_else(self, shared_lab: lab.Lab) -> None:
        on(shared_lab, "node-1", "ping", "-c1", "-W2", "10.200.1.3")
        on(shared_lab, "node-1", "ping", "-c1", "-W2", "node-3")
        routes = on(shared_lab, "node-1", "ip", "route", "show", "default")
        assert routes == "default via 10.200.0.1 dev eth0 \n"
        addresses = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout
        assert "10.200." not in addresses

    def test_begins_without_anything_of_ours(self, shared_lab: lab.Lab) -> None:
        for place in ("/etc/cni", "/opt/cni", "/root", "/run/netns"):
            assert on(shared_lab, "node-3", "sh", "-c", f"ls -A {place} 2>/dev/null || :") == ""

    def test_keeps_its_files_to_itself(self, shared_lab: lab.Lab) -> None:
        on(shared_lab, "node-1", "sh", "-c", "mkdir -p /etc/cni/net.d && echo x >/etc/cni/net.d/only-here")
        assert on(shared_lab, "node-1", "cat", "/etc/cni/net.d/only-here") == "x\n"
        assert on(shared_lab, "node-2", "sh", "-c", "ls -A /etc/cni") == ""
        assert not Path("/etc/cni/net.d/only-here").exists()
        on(shared_lab, "node-1", "rm", "-r", "/etc/cni/net.d")

    def test_is_good_for_containers(self, shared_lab: lab.Lab) -> None:
        """Network namespaces, macvlan on `eth0`, nftables and the network's kernel settings."""
        script = """set -e
            ip netns add c1; trap 'ip netns del c1; nft delete table inet lab_test' EXIT
            nft add table inet lab_test
            ip link add m0 link eth0 netns c1 type macvlan mode bridge
            ip -n c1 address add 10.200.9.1/16 dev m0; ip -n c1 link set m0 up
            sysctl -qw net.ipv4.ip_forward=1
            ip netns exec c1 sysctl -qw net.ipv4.conf.m0.arp_notify=1
            ip netns exec c1 ping -c1 -W2 10.200.1.2 >/dev/null
            cat /proc/sys/net/ipv4/ip_forward"""
        assert on(shared_lab, "node-1", "sh", "-c", script) == "1\n"

    def test_cannot_change_the_machines_kernel_settings(self, shared_lab: lab.Lab) -> None:
        with pytest.raises(AssertionError, match="Read-only"):
            on(shared_lab, "node-1", "sh", "-c", "echo 1 >/proc/sys/kernel/panic")

    def test_keeps_the_control_groups(self, shared_lab: lab.Lab) -> None:
        assert on(shared_lab, "node-1", "ls", "/sys/fs/cgroup").split() == sorted(os.listdir("/sys/fs/cgroup"))


class TestLife:
    def test_comes_up_within_three_seconds(self, own_lab: OwnLab) -> None:
        began = time.monotonic()
        own_lab(3)
        assert time.monotonic() - began < 3

    def test_goes_down_and_leaves_nothing(self, own_lab: OwnLab) -> None:
        there = own_lab(2)
        pids = [there.holder, *(node.pid for node in there.nodes)]
        lab.down(there.name)
        assert gone(pids)
        assert not there.folder.exists()
        assert there.name not in lab.names()
        assert there.name not in Path("/proc/mounts").read_text()
        with pytest.raises(UserError, match="there is no lab"):
            lab.down(there.name)

    def test_a_lab_that_was_never_finished_goes_down_as_well(self, own_lab: OwnLab) -> None:
        there = own_lab(1)
        (there.folder / "lab.json").unlink()
        lab.down(there.name)
        assert gone([there.holder])
        assert not there.folder.exists()

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_ends_with_its_holder(self, own_lab: OwnLab, number: int) -> None:
        there = own_lab(2)
        pids = [*processes_below(there.holder), *(node.pid for node in there.nodes)]
        assert len(pids) >= 5
        os.kill(there.holder, number)
        assert gone(pids)
        assert not there.alive
        # what is left is a folder, and the name is free
        assert lab.up(1, there.name).alive
        lab.down(there.name)

    def test_two_labs_with_the_same_addresses(self, own_lab: OwnLab) -> None:
        one, two = own_lab(1), own_lab(1)
        on(one, "node-1", "touch", "/run/one")
        assert one.node("node-1").address == two.node("node-1").address
        assert "one" not in on(two, "node-1", "ls", "/run").split()

    def test_the_name_of_a_lab_that_is_up(self, shared_lab: lab.Lab) -> None:
        with pytest.raises(LabFailed, match="is up already"):
            lab.up(1, shared_lab.name)
        assert shared_lab.alive

    def test_a_small_disk(self, own_lab: OwnLab) -> None:
        there = own_lab(1, lab.Shape(opt_size="1m"))
        with pytest.raises(AssertionError, match="No space left"):
            on(there, "node-1", "dd", "if=/dev/zero", "of=/opt/full", "bs=1M", "count=2")

    def test_a_lab_that_cannot_start_says_why_and_leaves_nothing(self) -> None:
        with pytest.raises(LabFailed, match="did not start"):
            lab.up(1, "test-broken", lab.Shape(opt_size="nonsense"))
        assert not (ROOT / "test-broken").exists()

    @pytest.mark.parametrize("count", [0, 201])
    def test_too_few_or_too_many(self, count: int) -> None:
        with pytest.raises(UserError, match="1 to 200 nodes"):
            lab.up(count, "test-count")
