"""Containers whose templates are evaluated only when an item is used, as Ansible does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, overload

from cni_provision.inventory.located import OMIT, Located
from cni_provision.inventory.model import Value


class Owner(Protocol):
    """Whose variables the templates below are evaluated with."""

    def used(self, located: Located, name: object) -> Any:
        """The value as templates see it, undefined where it is; `name` is what it is found by."""

    def settle(self, located: Located) -> Located:
        """The value with everything evaluated."""


class LazyMapping(Mapping[Any, Any]):
    """A mapping of the inventory as templates see it."""

    __slots__ = ("_located", "_owner")

    def __init__(self, located: Located, owner: Owner) -> None:
        self._located = located
        self._owner = owner

    def __getitem__(self, key: Any) -> Any:
        return self._owner.used(self._located.value[key], key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._located.value)

    def __len__(self) -> int:
        return len(self._located.value)

    def __repr__(self) -> str:
        return repr(plain(self))

    __hash__ = None  # type: ignore[assignment]


class LazySequence(Sequence[Any]):
    """A list of the inventory as templates see it."""

    __slots__ = ("_located", "_owner")

    def __init__(self, located: Located, owner: Owner) -> None:
        self._located = located
        self._owner = owner

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._owner.used(item, index) for item in self._located.value[index]]
        return self._owner.used(self._located.value[index], index)

    def __len__(self) -> int:
        return len(self._located.value)

    def __add__(self, other: Any) -> list[Any]:
        return [*self, *other] if isinstance(other, (list, LazySequence)) else NotImplemented

    def __radd__(self, other: Any) -> list[Any]:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __mul__(self, times: int) -> list[Any]:
        return list(self) * times

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (list, LazySequence)) else NotImplemented

    def __repr__(self) -> str:
        return repr(plain(self))

    __hash__ = None  # type: ignore[assignment]


def settled(value: object) -> Located | None:
    """What stands behind a lazy container, evaluated; None for anything else."""
    if isinstance(value, (LazyMapping, LazySequence)):
        return value._owner.settle(value._located)
    return None


def plain(value: Any) -> Value:
    """Everything evaluated, in plain containers without omitted items. Raises TypeError for what is no value."""
    if value is None or isinstance(value, (bool, int, float)) or value is OMIT:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        pairs = ((key, plain(child)) for key, child in value.items())
        return {key: child for key, child in pairs if child is not OMIT}
    if isinstance(value, range) or type(value).__name__ == "Undefined" or not hasattr(value, "__iter__"):
        return scalar(value)
    return [child for child in map(plain, value) if child is not OMIT]


def scalar(value: Any) -> Value:
    """Dates stay, anything else is refused; what is undefined says so itself."""
    if type(value).__name__ == "Undefined":
        str(value)
    if type(value).__name__ in ("date", "datetime"):
        return value
    name = type(value).__name__.lower()
    raise TypeError(f"the template gives no value but `{name}`" + ("; add `| list`" if name == "range" else ""))
