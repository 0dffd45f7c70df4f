"""Recovery without a controller: the program that stays on the node, run by hand and by a systemd that boots."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_provision import desired_recovery
from cni_provision.node import bundle
from tests.node.conftest import Node
from tests.node.kills import COMMITTED, NEW, TO_NEW, die_half_way, images, which
from tests.server.cluster import SERVED
from tests.systemd import INSTALLED, PROGRAM, Booted, Machine, machine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace not installed"),
]

SERVER = ("cni-provision-server.service", "cni-provision-server.socket")
RECOVERER = "/run/recover"
HOSTS = {"all": {"hosts": {"here": {"ansible_connection": "local"}}, "vars": {
    "cni_networks": [{"name": "lo", "template": "loopback"}],
    "cni_verify": {"enabled": False},
    "cni_runtime": {"server": False},
    "cni_kernel": {"sysctl": {"net.ipv4.ip_forward": "1"}},
}}}  # fmt: skip
# A runtime notes what it finds when it begins.
RUNTIME = """
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ls /etc/cni/net.d /opt/cni/bin; sysctl net.ipv4.ip_forward; ls -A /var/lib/cni-provision/txn'
StandardOutput=file:/var/lib/seen
[Install]
WantedBy=multi-user.target
"""


def run_by_hand(node: Node) -> subprocess.CompletedProcess[str]:
    node.write(RECOVERER, bundle.recovery(), mode=0o755)
    return subprocess.run(node.enter([RECOVERER]), capture_output=True, text=True, timeout=60)


def test_by_hand(node: Node) -> None:
    old, new = images(node)
    die_half_way(node)
    done = run_by_hand(node)
    assert (done.returncode, done.stdout, done.stderr) == (0, "an interrupted run was finished\n", "")
    assert which(node, old, new) == "new"
    done = run_by_hand(node)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_node_that_it_never_served(node: Node) -> None:
    done = run_by_hand(node)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_cannot_be_recovered_is_said(node: Node) -> None:
    images(node)
    die_half_way(node)
    node.shell(f"rm -r /var/lib/cni-provision/blobs/* && echo broken > {COMMITTED}")
    done = run_by_hand(node)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be read" in done.stderr
    assert node.ask(TO_NEW, NEW.contents).reply.error


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "machine") as made:
        yield made


def pull_the_plug(booted: Booted, path: str) -> None:
    """An apply of a second network, and of the server, that is killed before it renames `path`."""
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "inject=rename:signal=KILL"]
    newer = {
        "cni_networks__x": [{"name": "second", "template": "loopback", "order": 20}],
        "cni_runtime__x": {"server": True},
    }
    words = ("apply", "--yes", "-e", json.dumps(newer), "-i", "/run/hosts.yaml")
    booted.run(*trace, PROGRAM, *words, check=False)


@INSTALLED
@SERVED
def test_at_boot_before_the_runtimes(box: Machine) -> None:
    inventory = json.dumps(HOSTS)
    with box.boot(inventory, "multi-user.target") as booted:
        booted.provision("apply", "--yes")
        booted.run("sh", "-c", "cat > /etc/systemd/system/containerd.service", input=RUNTIME)
        booted.run("systemctl", "enable", "containerd.service")
        pull_the_plug(booted, "/etc/cni/net.d/.cnip-20-second.conflist.tmp")
        assert booted.run("ls", "/var/lib/cni-provision/txn") == "2.json\n"
    with box.boot(inventory, "multi-user.target") as booted:
        assert "an interrupted run was finished" in booted.journal(desired_recovery.UNIT)
        seen = booted.run("cat", "/var/lib/seen").splitlines()
        assert {"20-second.conflist", "net.ipv4.ip_forward = 1"} <= set(seen)
        assert "2.json" not in seen
        assert booted.run("systemctl", "is-active", *SERVER).split() == ["active", "active"]
        booted.provision("status")
        assert "1 already right" in booted.provision("rollback", "--yes", "--to", "2")
    with box.boot(inventory, "multi-user.target") as booted:
        assert "unmet condition" in booted.journal(desired_recovery.UNIT)[-1]
        booted.provision("remove", "--yes")
        assert booted.run("sh", "-c", "ls -d /etc/systemd/system/*cni-provision* /usr/local/libexec/* || true") == ""
