"""A Debian with systemd and an SSH server, as a kernel, a small initial RAM file system and a disk, built once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.vm import cpio, image

EARLY = Path(__file__).with_name("early.sh")
PACKAGES = (
    "systemd", "systemd-sysv", "udev", "dbus", "openssh-server", "python3", "sudo", "iproute2", "iputils-ping",
    "nftables", "iptables", "conntrack", "kmod", "procps", "netcat-openbsd", "busybox-static",
    "containernetworking-plugins", "linux-image-cloud-amd64",
)  # fmt: skip
MODULES = ("virtio_pci", "virtio_blk", "ext4")  # what the kernel needs to find the disk
SIZE = "3G"
# what would only take time in a machine that lives for minutes
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "e2scrub_reap.service", "systemd-timesyncd.service", "getty@tty1.service", "serial-getty@ttyS0.service",
)  # fmt: skip


@dataclass(frozen=True)
class Disk:
    """Files to boot from: `early` is a cpio archive that others can be appended to, `root` an ext4 file system."""

    kernel: Path
    early: Path
    root: Path


def ensure(*more: str) -> Disk:
    """A disk with these packages beside the usual ones. Raises `image.CannotBuild`."""
    packages = (*PACKAGES, *more)
    recipe = image.digest_of((Path(__file__), Path(image.__file__), Path(cpio.__file__), EARLY), *packages)
    where = image.kept(
        image.folder() / ("disk-" + "-".join(("base", *more))), recipe, partial(build, packages=packages)
    )
    return Disk(where / "vmlinuz", where / "early.cpio", where / "root.ext4")


def build(where: Path, *, packages: tuple[str, ...]) -> None:
    # an ending would make it an archive; the folder must be root's own to have devices and owners
    scratch = Path(tempfile.mkdtemp(dir=where, prefix="root-"))
    try:
        scratch.chmod(0o755)
        enabled = "systemctl enable systemd-networkd ssh && { systemctl disable containerd || true; }"
        hooks = (
            f'--customize-hook=chroot "$1" sh -c "{enabled} && systemctl mask {" ".join(MASKED)}"',
            '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id',
        )
        image.debootstrap(scratch, packages, *hooks)
        shutil.copyfile(next(scratch.glob("boot/vmlinuz-*")), where / "vmlinuz")
        write_early(scratch, where / "early.cpio")
        shutil.rmtree(scratch / "boot")
        (where / "root.ext4").unlink(missing_ok=True)
        image.run("mkfs.ext4", "-q", "-d", str(scratch), str(where / "root.ext4"), SIZE)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_early(root: Path, target: Path) -> None:
    """The first root: busybox, the modules that lead to the disk, and the script."""
    modules = next(root.glob("lib/modules/*"))
    files = list(in_order(modules))
    with target.open("wb") as out:
        writer = cpio.Writer(out)
        for folder in ("bin", "modules", "own", "dev"):
            writer.entry(folder, cpio.FOLDER | 0o755)
        writer.file("bin/busybox", (root / "bin/busybox").read_bytes(), executable=True)
        for file in files:
            writer.file(f"modules/{file.name}", file.read_bytes())
        writer.file("modules/order", "".join(f"{file.name}\n" for file in files).encode())
        writer.file("init", EARLY.read_bytes(), executable=True)
        writer.close()


def in_order(modules: Path) -> Iterator[Path]:
    """The files of MODULES, each after those that it needs (depmod(8)); what is built into the kernel is left out."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[os.path.basename(name).partition(".")[0]] = [name, *others.split()]
    seen = set()
    for wanted in MODULES:
        for file in reversed(needs.get(wanted, [])):
            if file not in seen:
                seen.add(file)
                yield modules / file
