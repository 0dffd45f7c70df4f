"""From `-i`, `-e` and `--limit` to an `Inventory`, or to every mistake in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cni_provision.errors import Mistakes, NeedsAnsible, NoInventory, UserError
from cni_provision.inventory.addresses import Subnet
from cni_provision.inventory.ansible import Question, ask
from cni_provision.inventory.answer import Answer
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.connection import ConnectionReader
from cni_provision.inventory.declarations import DeclarationReader
from cni_provision.inventory.extra import extra_variables
from cni_provision.inventory.located import OMIT, Located
from cni_provision.inventory.model import Connection, Inventory, Node
from cni_provision.inventory.outside import Run
from cni_provision.inventory.overlap import between_nodes
from cni_provision.inventory.patterns import select
from cni_provision.inventory.precedence import Precedence
from cni_provision.inventory.reading import YAML_EXTENSIONS, Reading, default_paths
from cni_provision.inventory.scope import Fleet, Scope, Taint
from cni_provision.inventory.settings import READER_HINT, Settings, read_settings
from cni_provision.inventory.tree import ALL, Tree
from cni_provision.inventory.varsfiles import Sealed, Texts


@dataclass(frozen=True)
class Sources:
    """What the user named: inventories (files, folders, `host1,host2`), `-e`s, and who reads them.

    `playbook_dir`: the folder whose `group_vars/` and `host_vars/` a playbook there would add. `vault_ids` are for
    the reader `ansible`.
    """

    paths: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    reader: str = "own"
    playbook_dir: str | None = None
    vault_ids: tuple[str, ...] = ()


def load(sources: Sources, limit: str | None = None, run: Run | None = None) -> Inventory:
    """The selected nodes with all that is declared for them; `run` executes programs, where that is wanted.

    Raises Mistakes, NeedsAnsible, UserError.
    """
    return Loading(sources, run).load(limit)


@dataclass
class Loading:
    """One load: what is read, and what is found wrong."""

    sources: Sources
    run: Run | None = None
    complaints: Complaints = field(default_factory=Complaints)
    tree: Tree = field(default_factory=Tree)
    texts: Texts = field(init=False)
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.texts = Texts(self.complaints)
        self.settings = read_settings(os.environ, self.complaints)

    @property
    def playbook_dir(self) -> str | None:
        return self.sources.playbook_dir or self.settings.playbook_dir

    def load(self, limit: str | None) -> Inventory:
        """Everything in turn; mistakes are raised when no more of them can be found."""
        paths = self.sources.paths or default_paths(self.settings)
        fleet = self.by_ansible(paths) if self.sources.reader == "ansible" else self.fleet(paths)
        selected = self.selected(limit)
        nodes = self.nodes(fleet, selected)
        self.complaints.raise_any()
        warnings = self.complaints.told_warnings()
        return Inventory(nodes, ", ".join(paths), self.digest(), warnings, self.complaints.hiding)

    def fleet(self, paths: tuple[str, ...]) -> Fleet:
        """Groups, hosts and variables of all sources. Raises Mistakes if no host can be known."""
        for refused in self.settings.refused:
            self.complaints.caught(refused)
        reading = Reading(self.tree, self.texts, self.complaints, self.settings, self.run)
        for path in paths:
            reading.add(path)
        self.tree.reconcile()
        try:
            extra = extra_variables(self.sources.extra_vars, self.texts, self.complaints)
        except UserError as error:
            extra = {}
            self.complaints.caught(error)
        self.need_hosts(paths)
        precedence = Precedence(self.tree, paths, self.texts, extra, self.playbook_dir)
        return self.shared(lambda name: precedence.of(self.tree.hosts[name]))

    def by_ansible(self, paths: tuple[str, ...]) -> Fleet:
        """The same by Ansible: every variable is evaluated already. Raises UserError."""
        if self.run is None:
            raise UserError("Ansible is not run here", hint="`--reader own` needs no program")
        self.need_paths(paths)
        question = Question(paths, self.sources.extra_vars, self.playbook_dir, self.sources.vault_ids)
        answer = Answer(self.tree)
        answer.read(ask(question, self.run, os.environ).splitlines())
        self.need_hosts(paths)
        for file in sorted(answer.files):
            self.check_text(file)
        return self.shared(lambda name: Sealed(answer.variables[name]))

    def check_text(self, file: str) -> None:
        """Duplicate keys and YAML's surprises below our declarations, which Ansible lets pass."""
        near = os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file
        if os.path.splitext(file)[1] in YAML_EXTENSIONS and not os.access(file, os.X_OK):
            self.texts.value(near)
        elif os.path.isfile(file):
            self.texts.text(near)

    def need_paths(self, paths: tuple[str, ...]) -> None:
        if not paths:
            self.complaints.raise_any()
            raise NoInventory("no inventory", hint="give one with `-i`, or make one with `cni-provision init`")

    def need_hosts(self, paths: tuple[str, ...]) -> None:
        """Raises everything that was found wrong if there is no host to go on with."""
        self.need_paths(paths)
        if not self.tree.hosts:
            self.complaints.raise_any()
            self.complaints.error(f"the inventory `{', '.join(paths)}` has no hosts")
            raise Mistakes((*self.complaints.errors.values(), *self.complaints.told_warnings()))

    def shared(self, variables: Callable[[str], Sealed]) -> Fleet:
        hosts = self.tree.hosts
        return Fleet(
            hosts={name: index for index, name in enumerate(self.tree.members(ALL))},
            groups={name: self.tree.members(name) for name in self.tree.groups},
            variables=variables,
            group_names=lambda name: sorted(self.tree.groups_of(hosts[name].groups)),
            playbook_dir=os.path.abspath(self.playbook_dir) if self.playbook_dir else None,
            taint=Taint(hiding=self.complaints.hiding),
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

        reader = ConnectionReader(scope.name, read, scope.sealed.variables, self.complaints, self.settings.connection)
        return reader.connection()

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
