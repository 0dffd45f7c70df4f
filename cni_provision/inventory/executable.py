"""What an executable inventory answers to `--list` and `--host`, put into the tree as Ansible does it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cni_provision.errors import Place, UserError
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import VAULTED, Located, Spot, is_template, type_name
from cni_provision.inventory.outside import Run, TookTooLong
from cni_provision.inventory.tree import Loop, Source, Tree

UNSAFE, VAULT = "__ansible_unsafe", "__ansible_vault"


@dataclass
class Program:
    """Runs one executable inventory; everything that it says stands at `spot`, the program itself."""

    tree: Tree
    source: Source
    complaints: Complaints
    run: Run

    @property
    def spot(self) -> Spot:
        return Spot(Place(self.source.name))

    def add(self) -> bytes:
        """Its groups and hosts; the answer of `--list`. Raises UserError, OSError if it cannot be executed."""
        text = self.said("--list")
        groups = self.mapping(text, "--list")
        meta = groups.pop("_meta", None)
        variables = None if meta is None else self.of_all(meta)
        hosts: dict[str, None] = {}
        for name, group in groups.items():
            hosts |= dict.fromkeys(self.add_group(name, group))
        for host in hosts:
            found = self.of_one(host) if variables is None else variables.get(host, {})
            self.set_variables(host, found)
        return text

    def said(self, *words: str) -> bytes:
        """What the program printed. Raises UserError."""
        path = os.path.abspath(self.source.name)
        try:
            ran = self.run([path, *words], {})
        except TookTooLong as error:
            message = f"the inventory program was ended: {error}"
            raise UserError(message, place=self.spot.place, hint=error.hint) from error
        if ran.code:
            told = ran.complaint.decode(errors="replace").strip().splitlines()
            message = f"the inventory program ended with {ran.code}" + (f": {told[-1]}" if told else "")
            raise UserError(message, place=self.spot.place)
        return ran.output

    def mapping(self, text: bytes, option: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError as error:
            message = f"the inventory program's answer to `{option}` is not JSON: {error}"
            raise UserError(message, place=self.spot.place) from error
        if not isinstance(value, dict):
            raise self.wrong(f"`{option}`", "a mapping", value)
        return value

    def wrong(self, what: str, wanted: str, value: object) -> UserError:
        message = f"the inventory program's {what} must be {wanted}, not {type_name(value)}"
        return UserError(message, place=self.spot.place)

    def of_all(self, meta: object) -> dict[str, Any]:
        """`_meta.hostvars`."""
        found = meta.get("hostvars") if isinstance(meta, dict) else meta
        if not isinstance(found, dict):
            raise self.wrong("`_meta.hostvars`", "a mapping", found)
        return found

    def of_one(self, host: str) -> dict[str, Any]:
        """What it answers to `--host`, which is asked for where there is no `_meta`."""
        text = self.said("--host", host)
        return self.mapping(text, f"--host {host}") if text.strip() else {}

    def add_group(self, name: str, group: Any) -> list[str]:
        """A group with its hosts, children and variables; a list is its hosts, another mapping a host's variables."""
        self.tree.add_group(name)
        template = True
        if not isinstance(group, dict):
            group = {"hosts": group}
        elif not group.keys() & {"hosts", "vars", "children"}:
            group, template = {"hosts": [name], "vars": group}, False
        hosts = group.get("hosts", [])
        if not isinstance(hosts, list) or not all(isinstance(host, str) and host for host in hosts):
            raise self.wrong(f"`hosts` of the group `{name}`", "a list of names", hosts)
        for host in hosts:
            self.tree.add_host(host, name, self.spot, self.source)
        self.set_variables(name, group.get("vars", {}), template=template)
        self.add_children(name, group.get("children", []))
        return hosts

    def add_children(self, name: str, children: Any) -> None:
        if not isinstance(children, list) or not all(isinstance(child, str) and child for child in children):
            raise self.wrong(f"`children` of the group `{name}`", "a list of names", children)
        for child in children:
            self.tree.add_group(child)
            try:
                self.tree.add_child(name, child)
            except Loop:
                self.complaints.error(f"the group `{child}` is below itself (through `{name}`)", self.spot)

    def set_variables(self, name: str, variables: Any, *, template: bool = True) -> None:
        if not isinstance(variables, dict):
            raise self.wrong(f"variables of `{name}`", "a mapping", variables)
        for key, value in variables.items():
            try:
                self.tree.set_variable(name, key, located(value, self.spot, template=template))
            except ValueError:
                self.complaints.error(f"the priority of the group `{name}` must be a whole number", self.spot)


def located(value: Any, spot: Spot, *, template: bool = True) -> Located:
    """A JSON value; `template`: whether text in it is evaluated."""
    if isinstance(value, Mapping):
        if value.keys() == {VAULT}:
            return Located(VAULTED, spot.place, shared=True)
        if value.keys() == {UNSAFE}:
            return Located(str(value[UNSAFE]), spot.place, shared=True)
        children: Any = {key: located(child, spot, template=template) for key, child in value.items()}
        return Located(children, spot.place, keys=dict.fromkeys(children, spot), shared=True)
    if isinstance(value, list):
        return Located([located(child, spot, template=template) for child in value], spot.place, shared=True)
    evaluated = template and isinstance(value, str) and is_template(value)
    return Located(value, spot.place, template=evaluated, shared=True)
