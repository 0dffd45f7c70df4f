"""What Ansible answers to `--reader ansible` (`_ansible/cni_provision_variables.py`), as a tree and variables."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cni_provision.errors import Place
from cni_provision.inventory.located import OMIT, Failed, Located, Spot
from cni_provision.inventory.tree import Source, Tree, Variables

Json = dict[str, Any]


@dataclass
class Answer:
    """Reads the lines one after the other; `files` are all that any value stands in."""

    tree: Tree
    variables: dict[str, Variables] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    shared: list[Located] = field(default_factory=list)
    folder: str = field(default_factory=os.getcwd)
    places: dict[tuple[Any, ...], Place] = field(default_factory=dict)

    def read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            found = json.loads(line)
            if "groups" in found:
                self.groups(found)
            elif "shared" in found:
                self.shared.append(self.node(found["node"], Place(""), shared=True))
            else:
                self.host(found["host"], found["variables"])

    def groups(self, found: Json) -> None:
        """Groups first, then which is below which, then the hosts in their order."""
        source = Source("")
        for name, group in found["groups"].items():
            self.tree.add_group(name).priority = group["priority"]
        for name, group in found["groups"].items():
            for child in group["children"]:
                if child not in self.tree.groups[name].children:
                    self.tree.add_child(name, child)
            for host in group["hosts"]:
                self.tree.add_host(host, name, Spot(Place("")), source)

    def host(self, name: str, variables: Json) -> None:
        file = Place(str(variables.get("inventory_file", {}).get("v") or ""))
        self.variables[name] = {
            key: self.shared[node["r"]] if "r" in node else self.node(node, file) for key, node in variables.items()
        }

    def node(self, node: Json, above: Place, *, shared: bool = False) -> Located:
        """A node with what is below it; one without a place of its own stands where the one above it stands."""
        place, secret = self.place(node.get("p"), above), bool(node.get("s"))
        if "l" in node:
            items = [self.node(item, place, shared=shared) for item in node["l"]]
            return Located(items, place, shared=shared, secret=secret)
        if "d" in node:
            children = {key: self.node(child, place, shared=shared) for key, child, _ in node["d"]}
            keys = {key: Spot(self.place(at, place), len(str(key))) for key, _, at in node["d"]}
            return Located(children, place, 1, keys, shared=shared, secret=secret)
        origin = Located(None, place) if node.get("j") else None
        return Located(value_of(node), place, shared=shared, secret=secret, origin=origin)

    def place(self, found: list[Any] | None, above: Place) -> Place:
        """A place, its file as seen from here."""
        if not found:
            return above
        key = tuple(found)
        if key not in self.places:
            file, line, column = found
            self.files.add(file)
            near = file.startswith(self.folder + os.sep)
            self.places[key] = Place(os.path.relpath(file, self.folder) if near else file, line, column)
        return self.places[key]


def value_of(node: Json) -> Any:
    if node.get("o"):
        return OMIT
    if "e" in node:
        return Failed(node["e"])
    if node.get("t") == "datetime":
        return datetime.datetime.fromisoformat(node["v"])
    return datetime.date.fromisoformat(node["v"]) if node.get("t") == "date" else node["v"]
