"""What `-i` names, read into the tree: files, folders of files, lists of hosts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from cni_provision.errors import NeedsAnsible, Place, UserError
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import Located, Spot
from cni_provision.inventory.ranges import split_port
from cni_provision.inventory.static import READER_HINT, StaticFile
from cni_provision.inventory.tree import UNGROUPED, Tree
from cni_provision.inventory.varsfiles import Texts

DEFAULT_PATHS = ("inventory", "hosts.yaml", "hosts.yml")
YAML_EXTENSIONS = ("", ".yml", ".yaml", ".json")
# What Ansible passes over in a folder of inventories (INVENTORY_IGNORE_EXTS and what belongs to variables).
IGNORED = re.compile(
    r"^\.|^(?:host_vars|group_vars|vars_plugins)$"
    r"|(?:\.pyc|\.pyo|\.swp|\.bak|~|\.rpm|\.md|\.txt|\.rst|\.orig|\.cfg|\.retry)$"
)


@dataclass
class Reading:
    """Fills a tree from sources; mistakes go to `complaints`, what needs Ansible there too."""

    tree: Tree
    texts: Texts
    complaints: Complaints

    def add(self, source: str) -> None:
        """One `-i`."""
        if "," in source and not os.path.exists(source):
            self.add_list(source)
        elif not os.path.exists(source):
            self.complaints.error(
                f"there is no inventory `{source}`", hint="`-i` takes a file, a folder or `host1,host2`"
            )
        else:
            self.add_path(source)

    def add_list(self, source: str) -> None:
        """`-i host1,host2`: hosts without variables."""
        spot = Spot(Place(f"-i {source}"))
        for pattern in filter(None, (item.strip() for item in source.split(","))):
            name, port = split_port(pattern)
            host = self.tree.add_host(name, UNGROUPED, spot, source)
            if port is not None:
                host.variables["ansible_port"] = Located(port, spot.place, shared=True)

    def add_path(self, path: str) -> None:
        """A file, or every file of a folder in order of name."""
        if not os.path.isdir(path):
            self.add_file(path)
            return
        for name in sorted(os.listdir(path)):
            if not IGNORED.search(name):
                self.add_path(os.path.join(path, name))

    def add_file(self, path: str) -> None:
        try:
            refuse_other_kinds(path)
            StaticFile(self.tree, path, self.complaints).add(self.texts.value(path))
        except UserError as error:
            self.complaints.caught(error)


def refuse_other_kinds(path: str) -> None:
    """Raise NeedsAnsible for what is no YAML file: a script, INI, TOML."""
    extension = os.path.splitext(path)[1]
    with open(path, "rb") as file:
        head = file.read(4096)
    first = next((line for line in head.decode(errors="replace").splitlines() if line.strip(" \t#;")), "")
    if head.startswith(b"#!") and os.access(path, os.X_OK):
        raise NeedsAnsible("the inventory is a program", place=Place(path, 1, 1), hint=READER_HINT)
    if extension not in YAML_EXTENSIONS or (not extension and first.lstrip().startswith("[")):
        what = "INI" if extension in ("", ".ini", ".cfg") else f"`{extension}`"
        raise NeedsAnsible(
            f"the inventory is no YAML file ({what})",
            place=Place(path),
            hint=f"{READER_HINT}, or make it YAML with `ansible-inventory -i {path} --list --yaml`",
        )


def default_paths() -> tuple[str, ...]:
    """Where an inventory is looked for without `-i`."""
    return tuple(path for path in DEFAULT_PATHS if os.path.exists(path))[:1]
