"""What a lab needs of this machine, and the package that has it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cni_provision.errors import LabFailed
from cni_provision.lab.state import is_root

PROGRAMS = {
    "/usr/sbin/sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "sh": "dash",
}
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check(
    path: str = SEARCHED, file_systems: Path = Path("/proc/filesystems"), modules: Path = Path("/sys/module")
) -> None:
    """Raise `LabFailed` that names everything that is missing."""
    if not is_root():
        raise LabFailed("a lab needs root: namespaces and mounts", hint="run it with sudo")
    missing = {name: package for name, package in PROGRAMS.items() if not shutil.which(name, path=path)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        names = ", ".join(f"`{name}`" for name in missing)
        raise LabFailed(f"a lab needs {names}, not found here", hint=f"`apt-get install {packages}`")
    if "\toverlay\n" not in file_systems.read_text() and not (modules / "overlay").exists():
        raise LabFailed("a lab needs the kernel's overlay file system", hint="`modprobe overlay`")
