"""A systemd of the test's own, in namespaces, over an overlay of this machine; it can be booted again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SYSTEMD = "/lib/systemd/systemd"
PROGRAM = str(Path(sys.executable).with_name("cni-provision"))
SECONDS = 60
INSTALLED = pytest.mark.skipif(not os.path.exists(SYSTEMD), reason="systemd is not installed")
LEFT_OUT = "etc/systemd/system/*.wants opt/cni etc/cni var/lib/cni-provision usr/local/libexec/cni-provision"
DISK = f"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
rm -rf {LEFT_OUT}
mkdir -p etc/tmpfiles.d
ln -sf /dev/null etc/tmpfiles.d/tmp.conf # it would empty /tmp, where this checkout may be
echo ready
exec sleep infinity
"""
BOOT = f"""
set -e
mount --make-rprivate /
cd "$1/root"
mount -t proc proc proc
mount --rbind /sys sys
umount --lazy sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount --rbind /dev dev
mkdir -p old && pivot_root . old && umount --lazy /old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=docker {SYSTEMD} --unit="$2" --show-status=false
"""
NAMESPACES = ("--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")


@dataclass(frozen=True)
class Booted:
    """A running systemd, by the process id of its first process."""

    pid: int

    def enter(self, *argv: str) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--all", "--", *argv]

    def run(self, *argv: str, input: str = "", check: bool = True) -> str:
        done = subprocess.run(self.enter(*argv), input=input, capture_output=True, text=True, timeout=SECONDS)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def provision(self, *words: str) -> str:
        return self.run(PROGRAM, *words, "-i", "/run/hosts.yaml")

    def journal(self, unit: str) -> list[str]:
        self.run("journalctl", "--sync", check=False)
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").splitlines()


@dataclass(frozen=True)
class Machine:
    """A disk that outlasts what runs from it: an overlay below `folder` in a mount namespace that `pid` holds."""

    pid: int
    folder: Path

    @contextmanager
    def boot(self, inventory: str, target: str = "basic.target") -> Iterator[Booted]:
        """A systemd that has started everything; leaving pulls the plug. `inventory` is for `provision`."""
        log = self.folder.with_suffix(".log")
        argv = ["nsenter", "--target", str(self.pid), "--mount", "unshare", *NAMESPACES]
        with log.open("w") as out:
            script = ["sh", "-c", BOOT, "sh", str(self.folder), target]
            holder = subprocess.Popen([*argv, *script], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            made = Booted(_first_process(holder, log))
            made.run("sh", "-c", "ip link set lo up && cat > /run/hosts.yaml", input=inventory)
            yield made
        finally:
            holder.kill()
            holder.wait()


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A machine that is switched off."""
    folder.mkdir()
    argv = ["unshare", "--mount", "sh", "-c", DISK, "sh", str(folder)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as disk:
        try:
            assert disk.stdout is not None
            assert disk.stdout.readline() == b"ready\n"
            yield Machine(disk.pid, folder)
        finally:
            disk.kill()


def _first_process(holder: subprocess.Popen[bytes], log: Path) -> int:
    """The process id of a systemd that has started everything; skips where it cannot start here."""
    deadline = time.monotonic() + SECONDS
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    while holder.poll() is None and time.monotonic() < deadline:
        found = children.read_text().split()
        if found and _is_running(int(found[0])):
            return int(found[0])
        time.sleep(0.1)
    pytest.skip(f"systemd does not start in namespaces here: {log.read_text()[-300:]}")


def _is_running(pid: int) -> bool:
    try:
        if not Path(f"/proc/{pid}/cmdline").read_text().startswith(SYSTEMD):
            return False
    except OSError:
        return False
    asked = ["nsenter", "--target", str(pid), "--all", "--", "systemctl", "is-system-running"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS).stdout.strip()
    return told in ("running", "degraded")
