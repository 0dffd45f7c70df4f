"""A YAML inventory file (`all: {hosts, children, vars}`) put into the tree, as Ansible's `yaml` plugin does it."""

from __future__ import annotations

from dataclasses import dataclass

from cni_provision.errors import NeedsAnsible
from cni_provision.inventory.complaints import Complaints, did_you_mean
from cni_provision.inventory.located import VAULTED, Located, Spot, type_name
from cni_provision.inventory.ranges import expand
from cni_provision.inventory.settings import READER_HINT
from cni_provision.inventory.source import is_declaration
from cni_provision.inventory.tree import PRIORITY, Loop, Source, Tree

SECTIONS = ("hosts", "children", "vars")


@dataclass
class StaticFile:
    """Puts one file into the tree; mistakes go to `complaints`."""

    tree: Tree
    source: Source
    complaints: Complaints

    def add(self, root: Located | None) -> None:
        """The groups of a file. Raises NeedsAnsible."""
        if root is None:
            return
        if root.value is VAULTED:
            raise NeedsAnsible("the inventory file is vaulted", place=root.place, hint=READER_HINT)
        if not isinstance(root.value, dict):
            message = f"an inventory is a mapping of groups, this is {type_name(root.value)}"
            self.complaints.error(message, root, "begin with `all:` and put `hosts:` below it")
            return
        if "plugin" in root.value:
            raise NeedsAnsible("an inventory plugin is named here", place=root.keys["plugin"].place, hint=READER_HINT)
        for name, group in root.value.items():
            self.add_group(name, group, root.keys[name])

    def add_group(self, name: object, body: Located, spot: Spot) -> bool:
        """A group with everything below it; false if it is none."""
        if not isinstance(name, str) or not name:
            self.complaints.error(f"the group name `{name}` is not text", spot, f'write `"{name}"`')
            return False
        if is_declaration(name):
            self.complaints.error(f"`{name}` is a variable", spot, "put it below `all: {vars: …}`")
            return False
        if body.value is not None and not isinstance(body.value, dict):
            self.complaints.warning(
                f"`{name}` is skipped: a group is a mapping, this is {type_name(body.value)}",
                spot,
                "hosts stand below `all: {hosts: …}`",
            )
            return False
        self.tree.add_group(name)
        for section, content in (body.value or {}).items():
            self.add_section(name, section, content, body.keys[section])
        return True

    def add_section(self, group: str, section: object, content: Located, spot: Spot) -> None:
        if is_declaration(section):
            self.complaints.error(f"`{section}` is a variable", spot, f"put it below `vars:` of the group `{group}`")
            return
        if section not in SECTIONS:
            message = f"`{section}` is skipped: a group has `hosts`, `children` and `vars`"
            self.complaints.warning(message, spot, did_you_mean(section, SECTIONS))
            return
        if isinstance(content.value, str):
            empty = Located(None, content.place, content.width)
            content = Located({content.value: empty}, content.place, content.width, {content.value: content.spot})
        if content.value is None:
            return
        if not isinstance(content.value, dict):
            hint = "write names as keys: `node1:`" if isinstance(content.value, list) else None
            message = f"`{section}` of group `{group}` must be a mapping, not {type_name(content.value)}"
            self.complaints.error(message, content, hint)
            return
        for key, child in content.value.items():
            self.add_entry(group, str(section), key, child, content.keys[key])

    def add_entry(self, group: str, section: str, key: object, child: Located, spot: Spot) -> None:
        if section == "hosts":
            self.add_hosts(group, key, child, spot)
        elif section == "vars":
            self.set_variable(group, key, child)
        elif self.add_group(key, child, spot):
            try:
                self.tree.add_child(group, str(key))
            except Loop:
                self.complaints.error(f"the group `{key}` is below itself (through `{group}`)", spot)

    def set_variable(self, name: str, key: object, value: Located) -> None:
        try:
            self.tree.set_variable(name, str(key), value)
        except ValueError:
            self.complaints.error(f"`{PRIORITY}` must be a whole number", value)

    def add_hosts(self, group: str, pattern: object, body: Located, spot: Spot) -> None:
        """The hosts of one key, each with the variables below it."""
        if not isinstance(pattern, str) or not pattern:
            self.complaints.error(f"the host name `{pattern}` is not text", spot, f'write `"{pattern}"`')
            return
        try:
            names, port = expand(pattern)
        except ValueError as error:
            self.complaints.error(str(error), spot)
            return
        if body.value is not None and not isinstance(body.value, dict):
            message = f"below the host `{pattern}` stand its variables, not {type_name(body.value)}"
            self.complaints.error(message, body, "write `variable: value` pairs, or nothing")
            return
        for name in names:
            self.tree.add_host(name, group, spot, self.source, port)
            for key, value in (body.value or {}).items():
                self.set_variable(name, key, value)
