"""How a lab is reached: its ssh configuration, its known host keys, and an Ansible inventory of its nodes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

from cni_provision.lab.golden import SERVER
from cni_provision.lab.state import BLACK_HOLE, DEAD, Lab

REACH = Path(__file__).with_name("reach.py")


def inventory(
    lab: Lab, *, user: str = "root", connection: str = "ssh", dead: bool = False, black_hole: bool = False
) -> str:
    """The lab's nodes as YAML, in the group `lab`.

    A `user` other than root becomes root by sudo. `connection` is `ssh`, or `lab` for entering the namespaces
    without SSH. `dead` adds a host that does not exist, `black_hole` one that swallows packets.
    """
    hosts = {node.name: _host(lab, node.name, node.address, connection) for node in lab.nodes}
    hosts |= {"dead": _host(lab, "dead", DEAD, connection)} if dead else {}
    hosts |= {"black-hole": _host(lab, "black-hole", BLACK_HOLE, connection)} if black_hole else {}
    variables: dict[str, Any] = {"ansible_user": user}
    if user != "root":
        variables["ansible_become"] = True
    if connection == "ssh":
        variables["ansible_ssh_common_args"] = f"-F {lab.folder / 'ssh_config'}"
    else:
        variables["ansible_connection"] = connection
    return yaml.safe_dump({"lab": {"vars": variables, "hosts": hosts}}, sort_keys=False)


def _host(lab: Lab, name: str, address: str, connection: str) -> dict[str, Any]:
    return {"ansible_host": address if connection == "ssh" else f"{lab.name}/{name}"}


def write_ssh_files(lab: Lab) -> None:
    """`ssh_config` and `known_hosts` in the lab's folder: `ssh -F …/ssh_config node-1` works as it stands."""
    known = (f"{node.name},{node.address} {_host_key(lab, node.name)}\n" for node in lab.nodes)
    (lab.folder / "known_hosts").write_text("".join(known))
    (lab.folder / "ssh_config").write_text(ssh_config(lab))


def ssh_config(lab: Lab) -> str:
    """Names and keys of the nodes, and the way into the lab's network, which this machine is no part of."""
    named = "".join(f"Host {node.name}\n  HostName {node.address}\n" for node in lab.nodes)
    reach = shlex.join(["nsenter", f"--net=/proc/{lab.holder}/ns/net", sys.executable, "-I", "-S", str(REACH)])
    return named + (
        "Host *\n"
        f"  IdentityFile {lab.folder / 'key'}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {lab.folder / 'known_hosts'}\n"
        "  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking yes\n"
        f"  ProxyCommand {reach} %h %p\n"
    )


def _host_key(lab: Lab, node: str) -> str:
    text = (lab.folder / "golden" / SERVER / "host-keys" / f"{node}.pub").read_text()
    return " ".join(text.split()[:2])
