"""Machines for Molecule, by name: `python -m tests.vm.machines up FOLDER NAME…`, and `down FOLDER`.

    --kind vm    virtual machines under QEMU (default), joined by a network of their own
    --kind lab   lab nodes, which are there in two seconds and have neither systemd nor a kernel of their own

Afterwards `ssh -F FOLDER/ssh_config NAME` works as it stands, host keys included, and FOLDER/machines.json says how
long it took and where each machine is: `address` among each other, `published` a port of this machine's 127.0.0.1
that leads to their port 8080.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cni_provision import lab
from cni_provision.lab.golden import make_key
from tests.vm import cpio, disk, image, qemu

MEMORY_MIB = 768
SECONDS_TO_BOOT = 420
PUBLISHED = 8080
SSH_CONFIG = """\
Host *
  User root
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  LogLevel ERROR
  ControlMaster auto
  ControlPersist 60s
  ControlPath {folder}/%n.mux
"""


@dataclass(frozen=True)
class Machine:
    name: str
    address: str
    port: int
    published: int


def up(folder: Path, names: list[str], packages: tuple[str, ...]) -> dict[str, object]:
    """Boot virtual machines; returns when all answer. Raises `image.CannotBuild`, TimeoutError."""
    began = time.monotonic()
    built = disk.ensure(*packages)
    imaged = time.monotonic()
    accelerator = qemu.accelerator(built.kernel, built.early)
    folder.mkdir(parents=True, exist_ok=True)
    make_key(folder / "key")
    machines = [Machine(name, f"192.0.2.{i}", free_port(), free_port()) for i, name in enumerate(names, 1)]
    for machine in machines:
        make_key(folder / f"{machine.name}.host-key")
    write_ssh_files(folder, machines)
    with ExitStack() as stack:
        stack.callback(down, folder)
        meeting = free_port()
        for machine in machines:
            start(folder, machine, built, accelerator, meeting)
        started = time.monotonic()
        for machine in machines:
            wait(folder, machine, started + SECONDS_TO_BOOT)
        stack.pop_all()
    seconds = {"image": imaged - began, "boot": time.monotonic() - imaged}
    told = {"kind": "vm", "accelerator": accelerator[1], "seconds": {k: round(v, 1) for k, v in seconds.items()}}
    return {**told, "machines": {machine.name: asdict(machine) for machine in machines}}


def start(folder: Path, machine: Machine, built: disk.Disk, accelerator: tuple[str, ...], meeting: int) -> None:
    """One machine: its own copy of the disk, its own files behind the first root, two network interfaces."""
    root, early = folder / f"{machine.name}.ext4", folder / f"{machine.name}.cpio"
    subprocess.run(["cp", "--sparse=always", built.root, root], check=True)
    shutil.copyfile(built.early, early)
    with early.open("ab") as out:
        own_files(out, folder, machine)
    forwards = f"hostfwd=tcp:127.0.0.1:{machine.port}-:22,hostfwd=tcp:127.0.0.1:{machine.published}-:{PUBLISHED}"
    last = int(machine.address.rpartition(".")[2])
    argv = qemu.argv(
        MEMORY_MIB, "-kernel", str(built.kernel), "-initrd", str(early),
        "-append", f"{qemu.KERNEL_ARGUMENTS} net.ifnames=0 rw root=/dev/vda",
        "-drive", f"file={root},format=raw,if=virtio,cache=unsafe",
        "-netdev", f"user,id=out,restrict=on,{forwards}", "-device", "virtio-net-pci,netdev=out",
        "-netdev", f"socket,id=among,mcast=230.0.0.1:{meeting},localaddr=127.0.0.1",
        "-device", f"virtio-net-pci,netdev=among,mac=52:54:00:12:34:{last:02x}",
        "-device", "virtio-rng-pci", "-serial", f"file:{folder}/{machine.name}.console",
        "-daemonize", "-pidfile", f"{folder}/{machine.name}.pid", accelerator=accelerator,
    )  # fmt: skip
    subprocess.run(argv, check=True)


def own_files(out: object, folder: Path, machine: Machine) -> None:
    """What differs between machines, as a further archive of the first root."""
    writer = cpio.Writer(out)  # type: ignore[arg-type]
    for name in ("etc", "etc/ssh", "etc/systemd", "etc/systemd/network", "root", "root/.ssh"):
        writer.entry(f"own/{name}", cpio.FOLDER | (0o700 if name.startswith("root") else 0o755))
    key = folder / f"{machine.name}.host-key"
    network = "[Match]\nName={}\n[Network]\nAddress={}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n{}"
    files = {
        "etc/hostname": f"{machine.name}\n",
        "etc/hosts": f"127.0.0.1 localhost {machine.name}\n",
        "etc/machine-id": f"{int(machine.address.rpartition('.')[2]):032x}\n",
        "etc/ssh/ssh_host_ed25519_key.pub": key.with_suffix(".host-key.pub").read_text(),
        "etc/systemd/network/eth0.network": network.format("eth0", "10.0.2.15/24", "Gateway=10.0.2.2\n"),
        "etc/systemd/network/eth1.network": network.format("eth1", f"{machine.address}/24", ""),
    }
    for name, text in files.items():
        writer.file(f"own/{name}", text.encode())
    private = {"etc/ssh/ssh_host_ed25519_key": key, "root/.ssh/authorized_keys": folder / "key.pub"}
    for name, file in private.items():
        writer.entry(f"own/{name}", cpio.FILE | 0o600, file.read_bytes())
    writer.close()


def write_ssh_files(folder: Path, machines: Iterable[Machine]) -> None:
    hosts, known = "", ""
    for machine in machines:
        hosts += f"Host {machine.name}\n  HostName 127.0.0.1\n  Port {machine.port}\n  HostKeyAlias {machine.name}\n"
        public = (folder / f"{machine.name}.host-key.pub").read_text().split()
        known += f"{machine.name} {public[0]} {public[1]}\n"
    (folder / "ssh_config").write_text(hosts + SSH_CONFIG.format(folder=folder))
    (folder / "known_hosts").write_text(known)


def wait(folder: Path, machine: Machine, end: float) -> None:
    """Until somebody can log in and systemd has started everything."""
    command = ["ssh", "-F", str(folder / "ssh_config"), "-o", "ConnectTimeout=60", machine.name]
    while subprocess.run([*command, "systemctl is-system-running --wait"], capture_output=True).returncode == 255:
        if time.monotonic() > end:
            console = (folder / f"{machine.name}.console").read_text(errors="replace")[-4000:]
            raise TimeoutError(f"{machine.name} does not answer; its console:\n{console}")
        time.sleep(1)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def down(folder: Path) -> None:
    """End what was started and remove the folder's files of it."""
    for file in folder.glob("*.pid"):
        pid = int(file.read_text())
        with suppress(FileNotFoundError, ProcessLookupError):
            if str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        file.unlink()
    for kind in ("ext4", "cpio", "host-key", "host-key.pub"):
        for file in folder.glob(f"*.{kind}"):
            file.unlink()
    for name in ("key", "key.pub", "ssh_config", "known_hosts", "machines.json"):
        (folder / name).unlink(missing_ok=True)


def lab_up(folder: Path, names: list[str]) -> dict[str, object]:
    """Lab nodes with the same names and files."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    there = lab.up(len(names), lab_name(folder))
    for name in ("ssh_config", "known_hosts", "key"):
        shutil.copy(there.folder / name, folder / name)
    assert [node.name for node in there.nodes] == names, "lab nodes are called node-1, node-2 …"
    machines = {node.name: {"name": node.name, "address": node.address} for node in there.nodes}
    return {"kind": "lab", "seconds": {"boot": round(time.monotonic() - began, 1)}, "machines": machines}


def lab_name(folder: Path) -> str:
    return f"molecule-{folder.name}".replace(".", "-")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("verb", choices=("up", "down"))
    options.add_argument("folder", type=Path)
    options.add_argument("names", nargs="*", metavar="NAME")
    options.add_argument("--kind", choices=("vm", "lab"), default="vm")
    options.add_argument("--package", action="append", default=[], help="a Debian package of the machines")
    chosen = options.parse_intermixed_args()
    down(chosen.folder)
    if lab_name(chosen.folder) in lab.names():
        lab.down(lab_name(chosen.folder))
    if chosen.verb == "down":
        return
    try:
        lab_kind = chosen.kind == "lab"
        told = lab_up(chosen.folder, chosen.names) if lab_kind else up(chosen.folder, chosen.names, chosen.package)
    except (image.CannotBuild, TimeoutError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    (chosen.folder / "machines.json").write_text(json.dumps(told))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
