"""The work that every engine does: 20 executables and 3 conflists on each node, as each would be told to."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

EXECUTABLES = 20
SMALLEST, LARGEST = 60_000, 1_000_000  # bytes, growing geometrically: 6.5 MB in all
BIN_DIR, CONF_DIR = "/opt/cni/bin", "/etc/cni/net.d"

PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - file: {path: "{{ item }}", state: directory, mode: "0755"}
      loop: [/opt/cni/bin, /etc/cni/net.d]
    - copy: {src: bin/, dest: /opt/cni/bin/, mode: "0755", owner: root, group: root}
    - template:
        {src: "templates/{{ item }}.j2", dest: "/etc/cni/net.d/{{ item }}", mode: "0644", owner: root, group: root}
      loop: [10-net.conflist, 20-net.conflist, 30-net.conflist]
"""

ANSIBLE_CFG = """\
[defaults]
forks = 20
host_key_checking = True
[ssh_connection]
pipelining = True
ssh_args = -F {ssh_config} -o ControlMaster=auto -o ControlPersist=60s {more}
"""

DEPLOY = """\
from pyinfra import host
from pyinfra.operations import files

files.directory(path="/opt/cni/bin", mode="755")
files.directory(path="/etc/cni/net.d", mode="755")
for number in range(1, 21):
    name = f"plugin-{number:02d}"
    files.put(src=f"bin/{name}", dest=f"/opt/cni/bin/{name}", mode="755", user="root", group="root")
for order in (10, 20, 30):
    name = f"{order}-net.conflist"
    files.template(
        src=f"templates/{name}.j2", dest=f"/etc/cni/net.d/{name}", mode="644", user="root", group="root",
        inventory_hostname=host.name,
    )
"""


def executable(number: int) -> bytes:
    """About half compressible, the same on every run; answers nothing."""
    size = int(SMALLEST * (LARGEST / SMALLEST) ** (number / (EXECUTABLES - 1)))
    noise = random.Random(number)
    return b"#!/bin/sh\nexit 1\n" + noise.randbytes(size // 2) + b"cni plugin " * (size // 22)


def write(folder: Path, ssh_config: Path, addresses: Mapping[str, str], *, curve25519: bool) -> None:
    """Fill `folder` with the work for every engine."""
    (folder / "bin").mkdir(parents=True)
    (folder / "templates").mkdir()
    for number in range(EXECUTABLES):
        (folder / f"bin/plugin-{number + 1:02d}").write_bytes(executable(number))
    for order in (10, 20, 30):
        (folder / f"templates/{order}-net.conflist.j2").write_text(conflist(order, "{{ inventory_hostname }}") + "\n")
    more = "-o KexAlgorithms=curve25519-sha256" if curve25519 else ""
    (folder / "playbook.yaml").write_text(PLAYBOOK)
    (folder / "ansible.cfg").write_text(ANSIBLE_CFG.format(ssh_config=ssh_config, more=more))
    (folder / "deploy.py").write_text(DEPLOY)
    (folder / "pyinfra_inventory.py").write_text(pyinfra_inventory(ssh_config, addresses))
    (folder / "inventory").mkdir()
    (folder / "inventory/hosts.yaml").write_text(json.dumps(inventory(folder, ssh_config, addresses, more), indent=1))


def conflist(order: int, description: str) -> str:
    plugin = {"type": "plugin-01", "bridge": f"cni{order}", "description": description}
    return json.dumps({"cniVersion": "1.0.0", "name": f"net{order}", "plugins": [plugin]}, indent=2)


def pyinfra_inventory(ssh_config: Path, addresses: Mapping[str, str]) -> str:
    hosts = [(name, {"ssh_config_file": str(ssh_config), "ssh_user": "root"}) for name in addresses]
    return f"nodes = {hosts!r}\n"


def inventory(folder: Path, ssh_config: Path, addresses: Mapping[str, str], more: str) -> dict[str, object]:
    """Ours and Ansible's (JSON is YAML)."""
    sources = [
        {"name": f"plugin-{number + 1:02d}", "source": "file", "path": str(folder / f"bin/plugin-{number + 1:02d}")}
        for number in range(EXECUTABLES)
    ]
    networks = [
        {
            "name": f"net{order}",
            "order": order,
            "plugins": [{"type": "plugin-01", "bridge": f"cni{order}", "description": "{{ inventory_hostname }}"}],
        }
        for order in (10, 20, 30)
    ]
    return {
        "all": {
            "hosts": {name: {} for name in addresses},
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_common_args": f"-F {ssh_config} {more}".strip(),
                "cni_networks": networks,
                "cni_plugins": sources,
                "cni_verify": {"enabled": False},
            },
        }
    }
