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


@dataclass(frozen=True)
class Failed:
    """Stands for a value that Ansible could not give, with what it said."""

    message: str


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
    it may be remembered by identity. `origin`: the template that gave this value. `secret`: it was vaulted, came from
    the environment, or from a value that did; so is everything below it.
    """

    value: Any
    place: Place
    width: int = 1
    keys: dict[Hashable, Spot] = field(default_factory=dict)
    template: bool = False
    shared: bool = False
    origin: Located | None = None
    secret: bool = False
    dynamic: bool = field(init=False)

    def __post_init__(self) -> None:
        unknown = self.value is VAULTED or isinstance(self.value, Failed)
        self.dynamic = self.template or unknown or any(child.dynamic for child in self.children())

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

    def key_places(self, path: Path = ()) -> Iterator[tuple[Path, Place]]:
        """Every path below this value with the place of its last key."""
        if isinstance(self.value, (dict, list)):
            for step, child in self.value.items() if isinstance(self.value, dict) else enumerate(self.value):
                if isinstance(self.value, dict):
                    yield (*path, step), self.key_spot(step).place
                yield from child.key_places((*path, step))

    def secrets(self, path: Path = ()) -> Iterator[tuple[Path, Located]]:
        """What is secret at and below this value, with its path."""
        if self.secret:
            yield path, self
        elif isinstance(self.value, (dict, list)):
            for step, child in self.value.items() if isinstance(self.value, dict) else enumerate(self.value):
                yield from child.secrets((*path, step))


def locate(value: Value, at: Located, *, secret: bool = False) -> Located:
    """A plain value as it came out of the template `at`, or for any other reason stands where `at` stands."""
    if isinstance(value, dict):
        kept = {key: child for key, child in value.items() if child is not OMIT}
        children: Any = {key: locate(child, at, secret=secret) for key, child in kept.items()}
        return Located(children, at.place, at.width, dict.fromkeys(children, at.spot), origin=at, secret=secret)
    if isinstance(value, (list, tuple)):
        items = [locate(child, at, secret=secret) for child in value if child is not OMIT]
        return Located(items, at.place, at.width, origin=at, secret=secret)
    return Located(value, at.place, at.width, origin=at, secret=secret)


def is_template(text: str) -> bool:
    """Whether Ansible would evaluate the text."""
    return any(mark in text for mark in TEMPLATE_MARKS)


def type_name(value: object) -> str:
    """What a user calls the type of a value."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", dict: "a mapping", list: "a list"}
    return "empty" if value is None else names.get(type(value), f"a {type(value).__name__}")
