"""Which variables a host has: Ansible's precedence over inventory, `group_vars`, `host_vars` and `-e`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cni_provision.errors import Place
from cni_provision.inventory.tree import ALL, Host, Tree, Variables
from cni_provision.inventory.varsfiles import Sealed, Texts, VarsFolder


class Precedence:
    """Merges variables, lowest first (Ansible's VARIABLE_PRECEDENCE):

    `all` in the inventory, other groups there, `group_vars/all`, other `group_vars`, the host in the
    inventory, `host_vars`, `-e`. Groups in order of depth, `ansible_group_priority`, name; a later
    source's folders win over an earlier one's, and those in the playbook's folder over all of them.
    """

    def __init__(
        self, tree: Tree, sources: Sequence[str], texts: Texts, extra: Variables, playbook_dir: str | None = None
    ) -> None:
        folders = [folder_of(source) for source in sources if "," not in source or os.path.exists(source)]
        folders += [playbook_dir] if playbook_dir else []
        self.tree = tree
        self.extra = extra
        self.group_folders = [VarsFolder(os.path.join(folder, "group_vars"), texts) for folder in unique(folders)]
        self.host_folders = [VarsFolder(os.path.join(folder, "host_vars"), texts) for folder in unique(folders)]
        self._groups: dict[tuple[str, ...], Sealed] = {}

    def of(self, host: Host) -> Sealed:
        """The host's variables, not yet evaluated."""
        below = self.of_groups(self.tree.groups_of(host.groups))
        variables = dict(below.variables)
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
    last = {os.path.realpath(folder): (place, folder) for place, folder in enumerate(folders)}
    return [folder for _, folder in sorted(last.values())]
