"""An INI inventory put into the tree as Ansible's `ini` plugin does: `[group]`, `[group:vars]`, `[group:children]`.

Values are Python literals where they are some: `1`, `True`, `['a']`, `None`, `'quoted'`; anything else is text. On a
host's line quotes are the shell's and are gone before that, so that `x="'1'"` is text there and `x='1'` a number.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from dataclasses import dataclass, field
from typing import Any

from cni_provision.errors import Place
from cni_provision.inventory.complaints import Complaints, did_you_mean
from cni_provision.inventory.located import Located, Spot, is_template
from cni_provision.inventory.ranges import expand
from cni_provision.inventory.tree import PRIORITY, UNGROUPED, Loop, Source, Tree

SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
GROUP_NAME = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
KINDS = ("hosts", "children", "vars")


@dataclass
class Pending:
    """A group that a line named before any section declared it; `parents` wait for it as their child."""

    spot: Spot
    parents: list[str] = field(default_factory=list)


@dataclass
class IniFile:
    """Puts one file into the tree; mistakes go to `complaints`."""

    tree: Tree
    source: Source
    complaints: Complaints
    pending: dict[str, Pending] = field(default_factory=dict)
    group: str = UNGROUPED
    kind: str = "hosts"

    def add(self, text: str) -> None:
        """The lines of a file, which begins in the group `ungrouped`."""
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if stripped and stripped[0] not in ";#":
                start = len(line) - len(line.lstrip()) + 1
                self.line(stripped, Spot(Place(self.source.name, number, start), len(stripped)))
        for name, pending in self.pending.items():
            self.complaints.error(f"no section declares the group `{name}`", pending.spot, f"add `[{name}]`")

    def line(self, line: str, spot: Spot) -> None:
        section = SECTION.fullmatch(line)
        if section:
            self.begin(section[1], section[2] or "hosts", spot)
        elif line.startswith("[") and line.endswith("]"):
            self.complaints.error(f"`{line}` is no section", spot, "write `[group]`, without spaces")
        elif self.kind == "hosts":
            self.add_hosts(line, spot)
        elif self.kind == "vars":
            self.set_group_variable(line, spot)
        else:
            self.add_child(line, spot)

    def begin(self, group: str, kind: str, spot: Spot) -> None:
        """A section; `[group:vars]` alone does not declare the group."""
        if kind not in KINDS:
            self.complaints.error(f"unknown section `[{group}:{kind}]`", spot, did_you_mean(kind, KINDS))
            kind = "hosts"
        self.group, self.kind = group, kind
        if group not in self.tree.groups:
            if kind == "vars" and group not in self.pending:
                self.pending[group] = Pending(spot)
            self.tree.add_group(group)
        if kind != "vars" and group in self.pending:
            self.attach(group)

    def attach(self, group: str) -> None:
        """A group that was waited for goes below its parents, and so do those of them that are waited for too."""
        for parent in self.pending[group].parents:
            self.put_below(parent, group, self.pending[group].spot)
            if parent in self.pending and self.pending[parent].parents:
                self.attach(parent)
        del self.pending[group]

    def put_below(self, parent: str, child: str, spot: Spot) -> None:
        try:
            self.tree.add_child(parent, child)
        except Loop:
            self.complaints.error(f"the group `{child}` is below itself (through `{parent}`)", spot)

    def add_child(self, line: str, spot: Spot) -> None:
        found = GROUP_NAME.fullmatch(line)
        if not found:
            self.complaints.error(f"`{line}` is not the name of a group", spot)
        elif found[1] in self.tree.groups:
            self.put_below(self.group, found[1], spot)
        else:
            self.pending.setdefault(found[1], Pending(spot)).parents.append(self.group)

    def set_group_variable(self, line: str, spot: Spot) -> None:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            self.complaints.error(f"`{line}` is not `key=value`", spot)
            return
        self.set_variable(self.group, key, value, within(spot, line, line.find(value, line.find("=")), value))

    def set_variable(self, name: str, key: str, text: str, spot: Spot) -> None:
        try:
            self.tree.set_variable(name, key, located(literal(text), spot))
        except ValueError:
            self.complaints.error(f"`{PRIORITY}` must be a whole number", spot)
        except TypeError as error:
            message = f"Ansible cannot read `{text}`, a Python literal: {error}"
            self.complaints.error(message, spot, "put the value in quotes, one more pair on the line of a host")

    def add_hosts(self, line: str, spot: Spot) -> None:
        """A host or a range of hosts, with variables behind it."""
        try:
            pattern, *pairs = shlex.split(line, comments=True)
            names, port = expand(pattern)
        except ValueError as error:
            self.complaints.error(f"bad line of a host: {str(error)[:1].lower()}{str(error)[1:]}", spot)
            return
        if pattern.endswith(":") or "---" in names:
            hint = "is this YAML? then call it `.yaml`"
            self.complaints.error(f"`{pattern}` is not the name of a host", spot, hint)
            return
        for name in names:
            self.tree.add_host(name, self.group, spot, self.source, port)
        for pair in pairs:
            key, equals, value = pair.partition("=")
            at = within(spot, line, line.find(key, len(pattern)), pair)
            if not equals:
                self.complaints.error(f"`{pair}` is not `key=value`", at, "put quotes around a value with spaces")
                continue
            for name in names:
                self.set_variable(name, key, value, at)


def within(spot: Spot, line: str, start: int, text: str) -> Spot:
    """A part of a line; the line as a whole where it is written in another way."""
    if start < 0:
        return spot
    place = Place(spot.place.file, spot.place.line, spot.place.column + start)
    return Spot(place, max(1, min(len(text), len(line) - start)))


def literal(text: str) -> Any:
    """What Python makes of the text if it is a literal, else the text. Raises TypeError (a set of sets)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def located(value: Any, spot: Spot) -> Located:
    """A literal as a value of the inventory: what YAML does not have becomes a list or text."""
    place, width = spot.place, spot.width
    if isinstance(value, dict):
        children: Any = {key: located(child, spot) for key, child in value.items()}
        return Located(children, place, width, dict.fromkeys(children, spot), shared=True)
    if isinstance(value, (list, tuple, set)):
        return Located([located(child, spot) for child in value], place, width, shared=True)
    if isinstance(value, bytes):
        value = value.decode(errors="surrogateescape")
        return Located(value, place, width, shared=True)
    if value is ...:
        value = "..."
    if isinstance(value, complex):
        value = str(value)
    template = isinstance(value, str) and is_template(value)
    return Located(value, place, width, template=template, shared=True)
