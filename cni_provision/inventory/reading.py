"""What `-i` names, read into the tree: files of each kind, folders of files, programs, lists of hosts."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from cni_provision.errors import NeedsAnsible, Place, UserError
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.executable import Program
from cni_provision.inventory.ini import SECTION, IniFile
from cni_provision.inventory.located import VAULTED, Spot
from cni_provision.inventory.outside import Run
from cni_provision.inventory.ranges import split_port
from cni_provision.inventory.settings import READER_HINT, Settings
from cni_provision.inventory.static import StaticFile
from cni_provision.inventory.tree import UNGROUPED, Source, Tree
from cni_provision.inventory.varsfiles import Texts

DEFAULT_PATHS = ("inventory", "hosts.yaml", "hosts.yml")
YAML_EXTENSIONS = (".yml", ".yaml", ".json")
# What Ansible passes over in a folder of inventories: what belongs to variables, and INVENTORY_IGNORE_EXTS.
IGNORED = re.compile(r"^\.|^(?:host_vars|group_vars|vars_plugins)$")
IGNORED_EXTENSIONS = (
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
)  # fmt: skip


@dataclass
class Reading:
    """Fills a tree from sources; mistakes go to `complaints`, what needs Ansible there too.

    `run` executes programs; without it, as for the shell's completion, they are left alone.
    """

    tree: Tree
    texts: Texts
    complaints: Complaints
    settings: Settings
    run: Run | None = None

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

    def add_list(self, text: str) -> None:
        """`-i host1,host2`: hosts without variables."""
        spot, source = Spot(Place(f"-i {text}")), Source.of(text)
        for pattern in filter(None, (item.strip() for item in text.split(","))):
            name, port = split_port(pattern)
            if name not in self.tree.hosts:
                self.tree.add_host(name, UNGROUPED, spot, source, port)

    def add_path(self, path: str) -> None:
        """A file, or every file of a folder in order of name."""
        if not os.path.isdir(path):
            self.add_file(path)
            return
        ignored = self.settings.ignored(IGNORED_EXTENSIONS)
        for name in sorted(os.listdir(path)):
            if IGNORED.search(name) or (ignored and ignored.search(name)):
                continue
            if name.endswith(".ini"):
                hint = "name it without `.ini`, or set `inventory_ignore_extensions` in ansible.cfg"
                self.complaints.warning("older Ansibles pass over this file", Spot(Place(f"{path}/{name}")), hint)
            self.add_path(os.path.join(path, name))

    def add_file(self, path: str) -> None:
        """A program if it can be executed; else YAML by its extension or its content; else INI."""
        try:
            if not (os.access(path, os.X_OK) and self.add_program(path)):
                self.add_text(path)
        except UserError as error:
            self.complaints.caught(error)

    def add_program(self, path: str) -> bool:
        """Whether the file is a program; a text file may be executable without being one."""
        if self.run is None:
            raise NeedsAnsible("the inventory is a program, which is not run here", place=Place(path))
        try:
            self.texts.read[path] = Program(self.tree, Source.of(path), self.complaints, self.run).add()
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                return False
            raise UserError(f"cannot run `{path}`: {error.strerror}", place=Place(path)) from error
        return True

    def add_text(self, path: str) -> None:
        extension = os.path.splitext(path)[1]
        if extension == ".toml":
            hint = f"{READER_HINT}, or make it YAML with `ansible-inventory -i {path} --list --yaml`"
            raise NeedsAnsible("the inventory is TOML", place=Place(path), hint=hint)
        if extension in YAML_EXTENSIONS or (not extension and self.is_yaml(path)):
            StaticFile(self.tree, Source.of(path), self.complaints).add(self.texts.value(path))
            return
        text = self.texts.text(path)
        if text is not None and text.startswith("$ANSIBLE_VAULT;"):
            raise NeedsAnsible("the inventory file is vaulted", place=Place(path, 1, 1), hint=READER_HINT)
        if text is not None:
            IniFile(self.tree, Source.of(path), self.complaints).add(text)

    def is_yaml(self, path: str) -> bool:
        """Whether a file without extension is a YAML mapping; if it is neither YAML nor INI, by its looks."""
        scratch = Texts(Complaints())
        root = scratch.value(path)
        if root is not None:
            return isinstance(root.value, dict) or root.value is VAULTED
        text = scratch.text(path) or ""
        return bool(scratch.complaints.errors) and not any(
            SECTION.fullmatch(line.strip()) for line in text.splitlines()
        )


def default_paths(settings: Settings) -> tuple[str, ...]:
    """Where an inventory is looked for without `-i`: where `ansible.cfg` says, else here."""
    return settings.inventories or tuple(path for path in DEFAULT_PATHS if os.path.exists(path))[:1]
