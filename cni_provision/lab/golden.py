"""The layer that all nodes of a lab have over this machine's files: users, SSH server, empty places."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cni_provision.lab import users
from cni_provision.lab.state import LabNode

EMPTY = ("etc/cni", "opt/cni", "var/lib", "root", "home")
SERVER = "etc/cni-provision-lab"
SSHD_CONFIG = """\
Port 22
PermitRootLogin prohibit-password
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthorizedKeysFile /etc/cni-provision-lab/authorized_keys
UsePAM no
UseDNS no
MaxStartups 100:30:200
Subsystem sftp internal-sftp
PidFile none
"""


def build(folder: Path, nodes: Iterable[LabNode]) -> None:
    """Write the layer to `folder/golden`, and the key that opens every node to `folder/key`."""
    golden = folder / "golden"
    golden.mkdir(mode=0o755)
    for name in EMPTY:
        _empty(golden / name)
    for name in ("sudo", "cni"):
        (golden / "var/lib" / name).mkdir(mode=0o755)
    _accounts(golden)
    _server(golden, folder / "key", nodes)
    hosts = "".join(f"{node.address} {node.name}\n{node.address6} {node.name}\n" for node in nodes)
    _write(golden / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{hosts}")
    _write(golden / "etc/resolv.conf", "")
    _write(golden / "etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")


def _empty(path: Path) -> None:
    """A folder that hides the machine's (kernel: Documentation/filesystems/overlayfs.rst, opaque directories)."""
    path.mkdir(mode=0o755, parents=True)
    os.setxattr(path, "trusted.overlay.opaque", b"y")


def _accounts(golden: Path) -> None:
    for name, made in (("passwd", users.passwd), ("group", users.group), ("shadow", users.shadow)):
        machine = Path("/etc", name)
        _write(golden / "etc" / name, made(machine.read_text()))
        shutil.copymode(machine, golden / "etc" / name)
    _write(golden / "etc/sudoers", users.sudoers(), mode=0o440)
    _write(golden / "etc/doas.conf", users.doas(), mode=0o400)
    for user in users.USERS:
        home = golden / "home" / user.name
        home.mkdir(mode=0o755)
        _write(home / ".bashrc", user.bashrc)
        for path in (home, home / ".bashrc"):
            os.chown(path, user.number, user.number)


def _server(golden: Path, key: Path, nodes: Iterable[LabNode]) -> None:
    """The SSH server's configuration, a host key for each node, and the public half of the login key."""
    keys = golden / SERVER / "host-keys"
    keys.mkdir(mode=0o755, parents=True)
    make_key(key)
    for node in nodes:
        make_key(keys / node.name)
    _write(golden / SERVER / "sshd_config", SSHD_CONFIG)
    _write(golden / SERVER / "authorized_keys", key.with_suffix(".pub").read_text())


def make_key(path: Path) -> None:
    """A new key pair at `path` and `path.pub`."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)
