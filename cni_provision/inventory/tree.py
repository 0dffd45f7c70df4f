"""Groups and hosts of an inventory, with Ansible's rules about order, depth and membership."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cni_provision.errors import Place
from cni_provision.inventory.located import Located, Spot

ALL, UNGROUPED = "all", "ungrouped"
PRIORITY = "ansible_group_priority"
Variables = dict[str, Located]


@dataclass
class Group:
    """A group: its own hosts and child groups in the order of the inventory, and its variables there."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)
    priority: int = 1


@dataclass
class Host:
    """A host: the groups that name it, its variables in the inventory, and where it was named first."""

    name: str
    spot: Spot
    groups: dict[str, None] = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """An inventory file, or the text of `-i host1,host2`: its hosts have `inventory_file` and `inventory_dir`."""

    name: str
    variables: Variables = field(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> Source:
        listed = "," in name and not os.path.exists(name)
        file = name if listed else os.path.abspath(name)
        place = Place(f"-i {name}" if listed else file)
        folder = "None" if listed else os.path.dirname(file)  # Ansible's text for a list of hosts
        both = {"inventory_file": file, "inventory_dir": folder}
        return cls(name, {key: Located(value, place, shared=True) for key, value in both.items()})


def priority_of(value: Located) -> int:
    """The number that `ansible_group_priority` says. Raises ValueError."""
    try:
        return int(value.value)
    except TypeError as error:
        raise ValueError(value.value) from error


class Loop(Exception):
    """A group would become its own ancestor."""


class Tree:
    """All groups and hosts; complete after `reconcile`."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.hosts: dict[str, Host] = {}
        self._above: dict[str, frozenset[str]] = {}
        self._depths: dict[str, int] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self.add_group(ALL)
        self.add_child(ALL, self.add_group(UNGROUPED).name)

    def add_group(self, name: str) -> Group:
        """The group of that name, new if there is none."""
        return self.groups.setdefault(name, Group(name))

    def add_child(self, parent: str, child: str) -> None:
        """Put a group below another. Raises Loop."""
        if parent == child or child in self.ancestors_now(parent):
            raise Loop
        self.groups[parent].children[child] = None
        self.groups[child].parents[parent] = None

    def add_host(self, name: str, group: str, spot: Spot, source: Source, port: int | None = None) -> None:
        """The host of that name, new if there is none, as a member of a group; only a new one takes the port."""
        if name not in self.hosts:
            self.hosts[name] = Host(name, spot)
            if port is not None:
                self.hosts[name].variables["ansible_port"] = Located(port, spot.place, spot.width, shared=True)
            for key, value in source.variables.items():
                self.set_variable(name, key, value)
        self.hosts[name].groups[group] = None
        self.groups[group].hosts[name] = None

    def set_variable(self, name: str, key: str, value: Located) -> None:
        """Of the group of that name if there is one now, else of the host. Raises ValueError for a bad priority."""
        if name not in self.groups:
            self.hosts[name].variables[key] = value
        elif key == PRIORITY:
            self.groups[name].priority = priority_of(value)
        else:
            self.groups[name].variables[key] = value

    def reconcile(self) -> None:
        """Groups without a parent go below `all`; hosts of no other group are ungrouped, and only those."""
        for group in self.groups.values():
            if group.name != ALL and not group.parents:
                self.add_child(ALL, group.name)
        for host in self.hosts.values():
            grouped = host.groups.keys() - {ALL, UNGROUPED}
            if not grouped:
                self.groups[UNGROUPED].hosts[host.name] = host.groups[UNGROUPED] = None
            elif UNGROUPED in host.groups:
                del host.groups[UNGROUPED], self.groups[UNGROUPED].hosts[host.name]

    def ancestors_now(self, name: str) -> set[str]:
        """Every group above a group, while the tree still grows."""
        found: set[str] = set()
        todo = list(self.groups[name].parents)
        while todo:
            parent = todo.pop()
            if parent not in found:
                found.add(parent)
                todo.extend(self.groups[parent].parents)
        return found

    def above(self, name: str) -> frozenset[str]:
        """A group and every group above it."""
        if name not in self._above:
            self._above[name] = frozenset({name} | self.ancestors_now(name))
        return self._above[name]

    def depth(self, name: str) -> int:
        """The longest way down from `all`."""
        if name not in self._depths:
            self._depths[name] = max((self.depth(parent) + 1 for parent in self.groups[name].parents), default=0)
        return self._depths[name]

    def groups_of(self, direct: Iterable[str]) -> tuple[str, ...]:
        """Every group, without `all`, of a host with these groups: the later one's variables win."""
        names = set().union(*map(self.above, direct)) - {ALL}
        return tuple(sorted(names, key=lambda name: (self.depth(name), self.groups[name].priority, name)))

    def members(self, name: str) -> tuple[str, ...]:
        """The hosts of a group and of all groups below it, nearer groups first."""
        if name not in self._members:
            self._members[name] = tuple(dict.fromkeys(host for group in self.below(name) for host in group.hosts))
        return self._members[name]

    def below(self, name: str) -> Iterator[Group]:
        """A group and the groups below it, level by level."""
        seen: dict[str, None] = {}
        level = [name]
        while level:
            seen.update(dict.fromkeys(level))
            yield from (self.groups[item] for item in level)
            children = dict.fromkeys(child for item in level for child in self.groups[item].children)
            level = [child for child in children if child not in seen]
