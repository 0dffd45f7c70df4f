"""`group_vars/` and `host_vars/` beside an inventory: files with and without extension, and folders of files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cni_provision.errors import Place
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import VAULTED, Located, Spot, type_name
from cni_provision.inventory.source import read_yaml
from cni_provision.inventory.tree import Variables

EXTENSIONS = ("", ".yml", ".yaml", ".json")


@dataclass
class Texts:
    """Reads files once, and keeps what was read for the inventory's digest."""

    complaints: Complaints
    read: dict[str, bytes] = field(default_factory=dict)
    values: dict[str, Located | None] = field(default_factory=dict)

    def value(self, path: str) -> Located | None:
        """The value of a YAML file."""
        if path not in self.values:
            self.values[path] = self._value(path)
        return self.values[path]

    def _value(self, path: str) -> Located | None:
        text = self.text(path)
        return None if text is None else read_yaml(text, path, self.complaints)

    def text(self, path: str) -> str | None:
        """The text of a file, None if it cannot be read."""
        try:
            with open(path, "rb") as file:
                self.read[path] = file.read()
            return self.read[path].decode()
        except OSError as error:
            self.complaints.error(f"cannot read `{path}`: {error.strerror}", Spot(Place(path)))
        except UnicodeDecodeError as error:
            self.complaints.error(f"`{path}` is not UTF-8 text (byte {error.start})", Spot(Place(path)))
        return None


@dataclass(frozen=True)
class Sealed:
    """Variables of which some are unknown, because a whole file is vaulted."""

    variables: Variables
    places: tuple[Place, ...] = ()


@dataclass
class VarsFolder:
    """One folder, `group_vars` or `host_vars`, listed once."""

    path: str
    texts: Texts
    names: frozenset[str] = frozenset()
    found: dict[str, Sealed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if os.path.isdir(self.path):
            self.names = frozenset(os.listdir(self.path))

    def of(self, entity: str) -> Sealed:
        """The variables of a group or host; later files win."""
        if not self.names or entity.startswith("/"):
            return Sealed({})
        if entity not in self.found:
            self.found[entity] = self._read(entity)
        return self.found[entity]

    def _read(self, entity: str) -> Sealed:
        variables: Variables = {}
        sealed = []
        for path in self.files(entity):
            root = self.texts.value(path)
            if root is None or root.value is None:
                continue
            if root.value is VAULTED:
                sealed.append(root.place)
            elif isinstance(root.value, dict):
                variables.update({str(key): value for key, value in root.value.items()})
            else:
                message = f"`{path}` must be a mapping of variables, not {type_name(root.value)}"
                self.texts.complaints.error(message, root)
        return Sealed(variables, tuple(sealed))

    def files(self, entity: str) -> list[str]:
        """The first of `name`, `name.yml`, `name.yaml`, `name.json` that is there; a folder stands for its files."""
        for extension in EXTENSIONS:
            if entity + extension in self.names or (
                "/" in entity and os.path.exists(self.path + "/" + entity + extension)
            ):
                path = os.path.join(self.path, entity + extension)
                return files_below(path) if os.path.isdir(path) else [path]
        return []


def files_below(folder: str) -> list[str]:
    """The files of a folder in order of name, and of its folders whose names have no extension."""
    files: list[str] = []
    for name in sorted(os.listdir(folder)):
        path, extension = os.path.join(folder, name), os.path.splitext(name)[1]
        if name.startswith(".") or name.endswith("~"):
            continue
        if os.path.isdir(path) and not extension:
            files += files_below(path)
        elif os.path.isfile(path) and extension in EXTENSIONS:
            files.append(path)
    return files
