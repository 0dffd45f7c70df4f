"""Runs `ansible-playbook` on lab nodes, in an environment of its own that finds this checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cni_provision import lab
from cni_provision.lab.enter import ENVIRONMENT
from tests.inventory import peers

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 300
# `nox -s role_newer` names one that needs a newer Python than ours
VERSIONS = os.environ.get("CNI_PROVISION_ANSIBLE_CORE", "").split() or list(peers.VERSIONS)
NEWEST = VERSIONS[-1]
RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
NETWORKS = [
    {"name": "pods", "order": 10, "template": "bridge", "parameters": {"subnet": "10.42.{{ node_index }}.0/24"}}
]
QUIET = {"cni_runtime": {"server": False}}  # no systemd in a lab node
PLAY = "- hosts: lab\n  gather_facts: false\n  roles: [cni_provision]\n"
# everything but our own record of it, which says who and when
TREE = (
    "cd / && find etc/cni opt/cni etc/sysctl.d etc/modules-load.d \\( -type f -o -type l -o -type d \\)"
    " -printf '%p %m %U:%G ' \\( -type f -exec sha256sum {} ';' -o -printf '%l\\n' \\) 2>/dev/null | sort"
)


@dataclass(frozen=True)
class Recap:
    """What Ansible counted for a host."""

    ok: int
    changed: int
    unreachable: int
    failed: int


@dataclass(frozen=True)
class Ran:
    """How a playbook ended."""

    code: int
    output: str

    @property
    def recap(self) -> dict[str, Recap]:
        return {name: Recap(*map(int, counts)) for name, *counts in RECAP.findall(self.output)}

    @property
    def text(self) -> str:
        """Everything that was on the screen, with single spaces and plain quotes."""
        return re.sub(r"\s+", " ", self.output.replace('\\"', '"').replace("\\n", "\n"))

    @property
    def results(self) -> list[dict[str, Any]]:
        """The objects that `debug` and failed tasks show."""
        return [json.loads(found) for found in re.findall(r"=> (\{.*?^\}|\{.*\})$", self.output, re.M | re.S)]


@dataclass(frozen=True)
class Site:
    """A user's folder; `package` is in the path of Ansible's interpreter."""

    folder: Path
    package: Path

    def write(self, files: Mapping[str, Any]) -> None:
        """Texts, and anything else as YAML."""
        for name, content in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))

    def inventory(self, there: lab.Lab, *nodes: str, **options: Any) -> None:
        """`hosts.yaml` with these nodes of a lab, and a play for them."""
        group = yaml.safe_load(lab.inventory(there, **options))["lab"]
        group["hosts"] = {name: host for name, host in group["hosts"].items() if not nodes or name in nodes}
        self.write({"hosts.yaml": {"lab": group}, "play.yaml": PLAY})

    def run(self, *words: str, version: str = NEWEST, **variables: str) -> Ran:
        program = ansible(version).with_name("ansible-playbook")
        return self.execute(str(program), "-i", "hosts.yaml", *(words or ("play.yaml",)), **variables)

    def command_line(self, *words: str) -> Ran:
        """`cni-provision` with the same inventory and playbook folder."""
        verb, *rest = words
        program = Path(sys.executable).with_name("cni-provision")
        return self.execute(str(program), verb, "-i", "hosts.yaml", "--playbook-dir", ".", *rest)

    def execute(self, *argv: str, **variables: str) -> Ran:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CNI_"))},
            "PYTHONPATH": str(self.package),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
            **variables,
        }
        done = subprocess.run(
            argv, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        )  # fmt: skip
        print(done.stdout)
        return Ran(done.returncode, done.stdout)


def ansible(version: str) -> Path:
    """The Python of an environment with that ansible-core; skips the test if it cannot be had."""
    return peers.python(version) if version in peers.VERSIONS else peers.environment(f"ansible-core=={version}.*")


def package(folder: Path) -> Path:
    """A folder that an interpreter without this project imports it from, as it is here."""
    (folder / "cni_provision").symlink_to(ROOT / "cni_provision")
    for found in Path(sys.prefix, "lib").glob("python*/site-packages/ziglang*"):
        (folder / found.name).symlink_to(found)
    return folder


def tree(there: lab.Lab, node: str) -> str:
    """Every path that we may have written, with mode, owner and digest."""
    return shell(there, node, TREE)


def clean(there: lab.Lab) -> None:
    """Take everything off lab nodes."""
    files = "/opt/cni/* /etc/cni/* /var/lib/cni* /run/cni-provision /etc/sysctl.d/90-* /etc/modules-load.d/cni-*"
    for node in there.nodes:
        shell(there, node.name, f"rm -rf {files}; ip link del cni0 2>/dev/null; true")


def shell(there: lab.Lab, node: str, script: str) -> str:
    """What a script that must succeed prints in a node."""
    argv = lab.command(there, node, ["sh", "-c", script])
    return subprocess.run(argv, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True).stdout
