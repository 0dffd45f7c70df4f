"""Values and where they stand: what the YAML reader gives, what merging and templates keep."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cni_provision.errors import Place
from cni_provision.inventory.model import Path, Value

TEMPLATE_MARKS = ("{{", "{%", "{#")


class Vaulted:
    """Stands for a value (or a whole file) that only the vault's password can open."""

    def __repr__(self) -> str:
        return "a vaulted value"


class Omitted:
    """What `omit` evaluates to: the key or item that holds it is left out."""

    def __repr__(self) -> str:
        return "omit"


class Broken:
    """Stands for a value whose template failed, which was told already."""

    def __repr__(self) -> str:
        return "a broken value"


VAULTED = Vaulted()
OMIT = Omitted()
BROKEN = Broken()


@dataclass(frozen=True)
class Spot:
    """A place and the number of columns to underline."""

    place: Place
    width: int = 1


@dataclass(eq=False)
class Located:
    """A value and where it stands; mappings and sequences hold `Located`s.

    `keys` has the spot of each key of a mapping. `template`: the text is to be evaluated. `dynamic`: it or something
    below is a template or vaulted. `shared`: read once and used by many nodes, so that what is derived from
    it may be remembered by identity. `origin`: the template that gave this value.
    """

    value: Any
    place: Place
    width: int = 1
    keys: dict[Hashable, Spot] = field(default_factory=dict)
    template: bool = False
    shared: bool = False
    origin: Located | None = None
    dynamic: bool = field(init=False)

    def __post_init__(self) -> None:
        self.dynamic = self.template or self.value is VAULTED or any(child.dynamic for child in self.children())

    def children(self) -> Iterator[Located]:
        """What stands directly below."""
        if isinstance(self.value, dict):
            yield from self.value.values()
        elif isinstance(self.value, list):
            yield from self.value

    @property
    def spot(self) -> Spot:
        return Spot(self.place, self.width)

    @property
    def plain(self) -> Value:
        """The value alone."""
        if isinstance(self.value, dict):
            return {key: child.plain for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain for child in self.value]
        return self.value

    def get(self, key: Hashable) -> Located | None:
        """A mapping's child, None for anything else."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def key_spot(self, key: Hashable) -> Spot:
        """Where a key of this mapping stands."""
        return self.keys.get(key) or self.value[key].spot

    def places(self, path: Path = ()) -> Iterator[tuple[Path, Place]]:
        """Every path at and below this value with its place."""
        yield path, self.place
        if isinstance(self.value, (dict, list)):
            for step, child in self.value.items() if isinstance(self.value, dict) else enumerate(self.value):
                yield from child.places((*path, step))


def locate(value: Value, at: Located) -> Located:
    """A plain value as it came out of the template `at`, or for any other reason stands where `at` stands."""
    if isinstance(value, dict):
        children: Any = {key: locate(child, at) for key, child in value.items() if child is not OMIT}
        keys = dict.fromkeys(children, at.spot)
        return Located(children, at.place, at.width, keys, origin=at)
    if isinstance(value, (list, tuple)):
        return Located([locate(child, at) for child in value if child is not OMIT], at.place, at.width, origin=at)
    return Located(value, at.place, at.width, origin=at)


def is_template(text: str) -> bool:
    """Whether Ansible would evaluate the text."""
    return any(mark in text for mark in TEMPLATE_MARKS)


def type_name(value: object) -> str:
    """What a user calls the type of a value."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", dict: "a mapping", list: "a list"}
    return "empty" if value is None else names.get(type(value), f"a {type(value).__name__}")
