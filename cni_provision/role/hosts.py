"""The variables of a play's hosts, as Ansible evaluates them, to nodes with what is declared, or to every mistake."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cni_provision.errors import Diagnostic
from cni_provision.inventory.addresses import Subnet
from cni_provision.inventory.answer import Answer
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.declarations import DeclarationReader
from cni_provision.inventory.model import Connection, Declarations, Inventory, Node
from cni_provision.inventory.overlap import between_nodes
from cni_provision.inventory.reading import YAML_EXTENSIONS
from cni_provision.inventory.scope import Fleet
from cni_provision.inventory.tree import Tree
from cni_provision.inventory.varsfiles import Sealed, Texts

Json = dict[str, Any]


@dataclass(frozen=True)
class Host:
    """One host of a play: `index` is its position in the inventory, `variables` are nodes of `inventory.answer`.

    Only `cni_*` and `inventory_dir` are needed. `outside`: names of those that do not stand in the inventory, and
    where they do.
    """

    name: str
    index: int
    groups: tuple[str, ...]
    variables: Mapping[str, Json]
    outside: Mapping[str, str] = field(default_factory=dict)


def inventory(hosts: Sequence[Host], source: str) -> Inventory:
    """The nodes of these hosts; `source` names the inventory for people. Raises `Mistakes`."""
    found = _Play(hosts)
    nodes = tuple(found.node(host) for host in hosts)
    return found.finished(nodes, source)


def play_inventory(hosts: Sequence[Host], others: Sequence[Host], source: str) -> Inventory:
    """The same for a whole play, as the command line would look at it.

    Subnets are compared, also with those of `others`, which are not in the play; the files are read again for
    what Ansible lets pass (duplicate keys, YAML's surprises). Raises `Mistakes`.
    """
    found = _Play([*hosts, *others])
    nodes = tuple(found.node(host) for host in hosts)
    found.compare(others, [host.name for host in hosts])
    found.read_files()
    return found.finished(nodes, source)


class _Play:
    """One reading: the hosts' values with their places, and what is found wrong."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.complaints = Complaints()
        self.answer = Answer(Tree())
        for host in self.hosts.values():
            self.answer.host(host.name, dict(host.variables))
        self.reader = DeclarationReader(self.complaints)
        self.subnets: dict[str, tuple[Subnet, ...]] = {}
        self.fleet = Fleet(
            hosts={name: host.index for name, host in self.hosts.items()},
            groups={},
            variables=lambda name: Sealed(self.answer.variables[name]),
            group_names=lambda name: list(self.hosts[name].groups),
        )

    def node(self, host: Host) -> Node:
        return Node(host.name, host.groups, Connection(kind="ansible"), self.declarations(host, self.reader))

    def declarations(self, host: Host, reader: DeclarationReader) -> Declarations:
        declared, self.subnets[host.name] = reader.read(self.fleet.scope(host.name))
        return declared

    def compare(self, others: Sequence[Host], selected: Sequence[str]) -> None:
        """Subnets of different nodes; what is wrong on hosts outside of the play is not asked for."""
        if any(subnet.routed or subnet.segment for found in self.subnets.values() for subnet in found):
            quiet = DeclarationReader(Complaints())
            for host in others:
                self.declarations(host, quiet)
        self.complaints.node = self.complaints.explain = None
        between_nodes(self.subnets.items(), selected, self.complaints)

    def read_files(self) -> None:
        texts = Texts(self.complaints)
        for file in sorted(self.answer.files):
            near = os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file
            if os.path.splitext(file)[1] in YAML_EXTENSIONS and os.path.isfile(file) and not os.access(file, os.X_OK):
                texts.value(near)

    def finished(self, nodes: tuple[Node, ...], source: str) -> Inventory:
        self.complaints.raise_any()
        return Inventory(nodes, source, self.digest(), self.warnings())

    def warnings(self) -> tuple[Diagnostic, ...]:
        return self.complaints.told_warnings()

    def digest(self) -> str:
        """Of all values that were declared."""
        values = {name: dict(host.variables) for name, host in self.hosts.items()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
