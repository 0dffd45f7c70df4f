"""Which variables a host has: Ansible's precedence over inventory, `group_vars`, `host_vars` and `-e`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cni_provision.errors import Place
from cni_provision.inventory.located import Located
from cni_provision.inventory.tree import ALL, Host, Tree, Variables
from cni_provision.inventory.varsfiles import Sealed, Texts, VarsFolder


class Precedence:
    """Merges variables, lowest first (Ansible's VARIABLE_PRECEDENCE, without a playbook's folders):

    `all` in the inventory, other groups there, `group_vars/all`, other `group_vars`, the host in the
    inventory, `host_vars`, `-e`. Groups in order of depth, `ansible_group_priority`, name; a later
    source's folders win over an earlier one's.
    """

    def __init__(self, tree: Tree, sources: Sequence[str], texts: Texts, extra: Variables) -> None:
        folders = [folder_of(source) for source in sources if "," not in source or os.path.exists(source)]
        self.tree = tree
        self.extra = extra
        self.group_folders = [VarsFolder(os.path.join(folder, "group_vars"), texts) for folder in unique(folders)]
        self.host_folders = [VarsFolder(os.path.join(folder, "host_vars"), texts) for folder in unique(folders)]
        self._groups: dict[tuple[str, ...], Sealed] = {}

    def of(self, host: Host) -> Sealed:
        """The host's variables, not yet evaluated."""
        below = self.of_groups(self.tree.groups_of(host.groups))
        variables = dict(below.variables)
        variables.update(magic_of_file(host))
        variables.update(host.variables)
        places = list(below.places)
        for folder in self.host_folders:
            found = folder.of(host.name)
            variables.update(found.variables)
            places += found.places
        variables.update(self.extra)
        return Sealed(variables, tuple(places))

    def of_groups(self, groups: tuple[str, ...]) -> Sealed:
        """What hosts of exactly these groups have in common."""
        if groups not in self._groups:
            self._groups[groups] = self._merge(groups)
        return self._groups[groups]

    def _merge(self, groups: tuple[str, ...]) -> Sealed:
        variables: Variables = {}
        places: list[Place] = []
        for name in (ALL, *groups):
            variables.update(self.tree.groups[name].variables)
        for names in ((ALL,), groups):
            for folder in self.group_folders:
                for found in map(folder.of, names):
                    variables.update(found.variables)
                    places += found.places
        return Sealed(variables, tuple(places))


def folder_of(source: str) -> str:
    return source if os.path.isdir(source) else os.path.dirname(source)


def unique(folders: Iterable[str]) -> list[str]:
    """Each folder once, where it counts: the last time it is named."""
    return list(dict.fromkeys(reversed(list(folders))))[::-1]


def magic_of_file(host: Host) -> Variables:
    """`inventory_file` and `inventory_dir`: host variables, so that -e and host_vars may hide them."""
    listed = "," in host.file and not os.path.exists(host.file)
    file = host.file if listed else os.path.abspath(host.file)
    folder = None if listed else os.path.dirname(file)
    place = host.spot.place
    return {
        "inventory_file": Located(file, place, shared=True),
        "inventory_dir": Located(folder, place, shared=True),
    }
