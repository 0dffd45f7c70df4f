"""What a lab is and where it is written down: a folder per lab, root's alone, that ends with it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cni_provision.errors import UserError

ROOT = Path("/run/cni-provision-lab")
DEAD = "10.200.250.1"  # nobody has it
BLACK_HOLE = "10.200.250.2"  # packets to it vanish (see holder.sh)


@dataclass(frozen=True)
class LabNode:
    """`pid` is that of the node's first process, as this machine counts."""

    name: str
    address: str
    address6: str
    pid: int = 0


@dataclass(frozen=True)
class Lab:
    """`holder` is the process with which everything ends; `born` tells it from a later one of the same number."""

    name: str
    holder: int
    born: str
    nodes: tuple[LabNode, ...]

    @property
    def folder(self) -> Path:
        return folder(self.name)

    @property
    def alive(self) -> bool:
        """Whether the holder still runs."""
        return birth(self.holder) == self.born

    def node(self, name: str) -> LabNode:
        """The node with this name; raises `UserError`."""
        found = next((node for node in self.nodes if node.name == name), None)
        if not found:
            known = ", ".join(node.name for node in self.nodes)
            raise UserError(f"the lab `{self.name}` has no node `{name}`", hint=f"it has {known}")
        return found

    def save(self) -> None:
        """Write it down for `find`."""
        (self.folder / "lab.json").write_text(json.dumps(asdict(self)))


def folder(name: str) -> Path:
    """Where a lab's files are; raises `UserError` for what cannot be a name."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"`{name}` cannot be the name of a lab", hint="letters, digits, `-` and `_`")
    return ROOT / name


def find(name: str = "default") -> Lab:
    """A lab that is up; raises `UserError`."""
    try:
        plain = json.loads((folder(name) / "lab.json").read_text())
    except (FileNotFoundError, PermissionError):
        there = ", ".join(names()) or "none"
        raise UserError(
            f"there is no lab `{name}`", hint=f"`cni-provision lab up 3 --name {name}` makes it; up now: {there}"
        ) from None
    return Lab(plain["name"], plain["holder"], plain["born"], tuple(LabNode(**node) for node in plain["nodes"]))


def names() -> tuple[str, ...]:
    """The labs of this machine."""
    return tuple(sorted(path.parent.name for path in ROOT.glob("*/lab.json")))


def birth(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where there is none (proc(5), stat, field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def is_root() -> bool:
    """Namespaces, mounts and the nodes' keys need it."""
    return os.geteuid() == 0
