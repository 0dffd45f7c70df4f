"""The server as systemd runs it: a systemd of the test's own, in namespaces, over an overlay of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server.cluster import SERVED

SYSTEMD = "/lib/systemd/systemd"
PROGRAM = str(Path(sys.executable).with_name("cni-provision"))
SECONDS = 60
UNITS = ("cni-provision-server.service", "cni-provision-server.socket")
BOOT = f"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /sys sys
umount --lazy sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
rm -rf etc/systemd/system/*.wants opt/cni etc/cni var/lib/cni-provision usr/local/libexec/cni-provision
mkdir -p old && pivot_root . old && umount --lazy /old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=docker {SYSTEMD} --unit=basic.target --show-status=false
"""
HOSTS = {"all": {"hosts": {"here": {"ansible_connection": "local"}}, "vars": {"cni_networks": [
    {"name": "lo", "template": "loopback"},
]}}}  # fmt: skip

pytestmark = [
    pytest.mark.root,
    SERVED,
    pytest.mark.skipif(not os.path.exists(SYSTEMD), reason="systemd is not installed"),
]


@dataclass(frozen=True)
class Booted:
    """A running systemd, by the process id of its first process."""

    pid: int

    def run(self, *argv: str, input: str = "", check: bool = True) -> str:
        enter = ["nsenter", "--target", str(self.pid), "--all", "--", *argv]
        done = subprocess.run(enter, input=input, capture_output=True, text=True, timeout=SECONDS)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def provision(self, *words: str) -> str:
        return self.run(PROGRAM, *words, "-i", "/run/hosts.yaml")

    def active(self) -> list[str]:
        return self.run("systemctl", "is-active", *UNITS, check=False).split()

    def version(self) -> None:
        """A call of a plugin as a runtime makes it."""
        answer = self.run("env", "CNI_COMMAND=VERSION", "/opt/cni/bin/loopback", input="{}")
        assert json.loads(answer)["cniVersion"] == "1.1.0"

    def journal(self) -> list[str]:
        self.run("journalctl", "--sync", check=False)
        return self.run("journalctl", "-u", UNITS[0], "-o", "cat", "--no-pager").splitlines()


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[Booted]:
    log = tmp_path / "log"
    namespaces = ("--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")
    folder = tmp_path / "root"
    folder.mkdir()
    with log.open("w") as out:
        argv = ["unshare", *namespaces, "sh", "-c", BOOT, "sh", str(folder)]
        holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        made = Booted(first_process(holder, log))
        made.run("sh", "-c", "ip link set lo up && cat > /run/hosts.yaml", input=json.dumps(HOSTS))
        yield made
    finally:
        holder.kill()
        holder.wait()


def first_process(holder: subprocess.Popen[bytes], log: Path) -> int:
    """The process id of a systemd that has started everything; skips where it cannot start here."""
    deadline = time.monotonic() + SECONDS
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    while holder.poll() is None and time.monotonic() < deadline:
        found = children.read_text().split()
        if found and is_running(int(found[0])):
            return int(found[0])
        time.sleep(0.1)
    pytest.skip(f"systemd does not start in namespaces here: {log.read_text()[-300:]}")


def is_running(pid: int) -> bool:
    try:
        if not Path(f"/proc/{pid}/cmdline").read_text().startswith(SYSTEMD):
            return False
    except OSError:
        return False
    asked = ["nsenter", "--target", str(pid), "--all", "--", "systemctl", "is-system-running"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS).stdout.strip()
    return told in ("running", "degraded")


def test_apply_starts_it_and_remove_takes_it_off(booted: Booted) -> None:
    booted.provision("apply", "--yes")
    assert booted.active() == ["active", "active"]
    assert "nothing to change" in booted.provision("plan")
    booted.version()
    assert any("plugin=loopback verb=VERSION" in line for line in booted.journal())
    booted.provision("apply", "--yes", "-e", '{"cni_runtime__x": {"server": false}}')
    assert booted.active() == ["inactive", "inactive"]
    booted.version()
    booted.provision("rollback", "--yes")
    assert booted.active() == ["active", "active"]
    booted.provision("remove", "--yes")
    assert booted.active() == ["inactive", "inactive"]
    left = booted.run("sh", "-c", "ls -d /etc/systemd/system/*/cni-provision* /etc/systemd/system/cni* || true")
    assert left == ""


def test_it_comes_back_and_the_socket_starts_it(booted: Booted) -> None:
    booted.provision("apply", "--yes")
    booted.run("systemctl", "kill", "--signal=KILL", UNITS[0])
    booted.version()
    wait_until_active(booted)
    booted.version()
    booted.run("systemctl", "stop", UNITS[0])
    assert booted.active() == ["inactive", "active"]
    booted.version()  # cold, and the server begins
    wait_until_active(booted)
    booted.version()
    lines = booted.journal()
    starts = ("apply starts it", "and restarts it, as after a change", "it was killed", "the socket started it")
    assert sum("listens on" in line for line in lines) == len(starts)
    assert "verb=VERSION" in lines[-1]


def wait_until_active(booted: Booted) -> None:
    deadline = time.monotonic() + SECONDS
    while booted.active() != ["active", "active"]:
        assert time.monotonic() < deadline, booted.journal()
        time.sleep(0.1)


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_its_rights_are_enough(booted: Booted) -> None:
    """The unit takes away what no plugin needs."""
    booted.provision("apply", "--yes")
    network = {
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "isGateway": True, "ipMasq": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]},
    }  # fmt: skip
    booted.run("ip", "netns", "add", "blue")
    variables = ("CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/blue", "CNI_PATH=/opt/cni/bin")
    for command in ("ADD", "DEL"):
        booted.run("env", f"CNI_COMMAND={command}", *variables, "/opt/cni/bin/bridge", input=json.dumps(network))
    verbs = [line for line in booted.journal() if "plugin=bridge" in line]
    assert [line.rpartition("code=")[2] for line in verbs] == ["0", "0"]
