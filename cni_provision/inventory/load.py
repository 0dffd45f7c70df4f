"""From `-i`, `-e` and `--limit` to an `Inventory`, or to every mistake in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cni_provision.errors import Mistakes, NeedsAnsible, UserError
from cni_provision.inventory.addresses import Subnet
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.connection import ConnectionReader
from cni_provision.inventory.declarations import DeclarationReader
from cni_provision.inventory.extra import extra_variables
from cni_provision.inventory.located import OMIT, Located
from cni_provision.inventory.model import Connection, Inventory, Node
from cni_provision.inventory.overlap import between_nodes
from cni_provision.inventory.patterns import select
from cni_provision.inventory.precedence import Precedence
from cni_provision.inventory.reading import Reading, default_paths
from cni_provision.inventory.scope import Fleet, Scope
from cni_provision.inventory.static import READER_HINT
from cni_provision.inventory.tree import ALL, Tree
from cni_provision.inventory.varsfiles import Texts

READERS = ("own",)


@dataclass(frozen=True)
class Sources:
    """What the user named: inventories (files, folders, `host1,host2`), `-e`s, and who reads them."""

    paths: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    reader: str = "own"


def load(sources: Sources, limit: str | None = None) -> Inventory:
    """The selected nodes with all that is declared for them. Raises Mistakes, NeedsAnsible."""
    if sources.reader not in READERS:
        raise UserError(f"the reader `{sources.reader}` is not there yet", hint="`--reader own` is the only one")
    return Loading(sources).load(limit)


@dataclass
class Loading:
    """One load: what is read, and what is found wrong."""

    sources: Sources
    complaints: Complaints = field(default_factory=Complaints)
    tree: Tree = field(default_factory=Tree)
    texts: Texts = field(init=False)

    def __post_init__(self) -> None:
        self.texts = Texts(self.complaints)

    def load(self, limit: str | None) -> Inventory:
        """Everything in turn; mistakes are raised when no more of them can be found."""
        paths = self.sources.paths or default_paths()
        fleet = self.fleet(paths)
        selected = self.selected(limit)
        nodes = self.nodes(fleet, selected)
        self.complaints.raise_any()
        return Inventory(nodes, ", ".join(paths), self.digest(), self.complaints.told_warnings())

    def fleet(self, paths: tuple[str, ...]) -> Fleet:
        """Groups, hosts and variables of all sources. Raises Mistakes if no host can be known."""
        if not paths:
            self.complaints.error("there is no inventory", hint="name one with `-i`, or write `./hosts.yaml`")
        reading = Reading(self.tree, self.texts, self.complaints)
        for path in paths:
            reading.add(path)
        self.tree.reconcile()
        try:
            extra = extra_variables(self.sources.extra_vars, self.texts, self.complaints)
        except UserError as error:
            extra = {}
            self.complaints.caught(error)
        if not self.tree.hosts:
            self.complaints.raise_any()
            self.complaints.error(f"the inventory `{', '.join(paths)}` has no hosts")
            raise Mistakes((*self.complaints.errors.values(), *self.complaints.told_warnings()))
        return self.shared(Precedence(self.tree, paths, self.texts, extra))

    def shared(self, precedence: Precedence) -> Fleet:
        hosts = self.tree.hosts
        return Fleet(
            hosts={name: index for index, name in enumerate(self.tree.members(ALL))},
            groups={name: self.tree.members(name) for name in self.tree.groups},
            variables=lambda name: precedence.of(hosts[name]),
            group_names=lambda name: sorted(self.tree.groups_of(hosts[name].groups)),
        )

    def selected(self, limit: str | None) -> tuple[str, ...]:
        try:
            return select(self.tree, limit)
        except UserError as error:
            self.complaints.caught(error)
            return ()

    def nodes(self, fleet: Fleet, selected: tuple[str, ...]) -> tuple[Node, ...]:
        """The selected nodes; subnets are compared with those of all others too."""
        reader = DeclarationReader(self.complaints)
        subnets: dict[str, tuple[Subnet, ...]] = {}
        nodes = []
        for name in selected:
            scope = fleet.scope(name)
            self.complaints.node = None
            for error in sealed_files(scope):
                self.complaints.caught(error)
            declarations, subnets[name] = reader.read(scope)
            groups = tuple(sorted(self.tree.groups_of(self.tree.hosts[name].groups)))
            nodes.append(Node(name, groups, self.connection(scope), declarations, scope.evaluated))
        others = [name for name in fleet.hosts if name not in subnets]
        if any(subnet.routed or subnet.segment for found in subnets.values() for subnet in found):
            subnets |= subnets_quietly(fleet, others)
        self.complaints.node = self.complaints.explain = None
        between_nodes(subnets.items(), selected, self.complaints)
        return tuple(nodes)

    def connection(self, scope: Scope) -> Connection:
        """How to reach a node."""

        def read(name: str) -> Located | None:
            located = scope.sealed.variables.get(name)
            try:
                value = scope.settle(located) if located else None
            except UserError as error:
                self.complaints.caught(error)
                return None
            return None if value is None or value.value is OMIT else value

        return ConnectionReader(scope.name, read, scope.sealed.variables, self.complaints).connection()

    def digest(self) -> str:
        """Of every file that was read and every `-e`, in a stable order."""
        digest = hashlib.sha256()
        for path in sorted(self.texts.read):
            digest.update(f"{path}\0{len(self.texts.read[path])}\0".encode())
            digest.update(self.texts.read[path])
        for option in self.sources.extra_vars:
            digest.update(f"-e\0{option}\0".encode())
        return digest.hexdigest()


def sealed_files(scope: Scope) -> list[NeedsAnsible]:
    """A vaulted file among a node's variables: none of them is known for sure."""
    return [
        NeedsAnsible("a file of variables is vaulted", place=place, hint=READER_HINT) for place in scope.sealed.places
    ]


def subnets_quietly(fleet: Fleet, names: list[str]) -> dict[str, tuple[Subnet, ...]]:
    """The subnets of nodes that were not selected, whose own mistakes are not asked for."""
    reader = DeclarationReader(Complaints())
    return {name: reader.read(fleet.scope(name))[1] for name in names}
