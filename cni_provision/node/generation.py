"""What was done to this node, by whom, and what to return to: one record a generation, one number for all owners."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from cni_provision.node import blobs, files, paths
from cni_provision.node.failure import Failure
from cni_provision.node.protocol import Reload, state_from_json
from cni_provision.plan import State, digest_behind

KEPT = 10


@dataclass(frozen=True)
class Generation:
    """The record of one run.

    `states`: every key that this owner ever touched, as the run left it (None = absent). `owned`: those that
    are still ours. `found`: the same keys as they were before us. `attributes`: labels, capabilities and access
    lists by key, as files had them when they were last replaced or removed. `due`: names of reloads still to be done.
    `verified`: None = not asked. `rollback_of`: the generation that this one restored.
    `verify`: what was asked to prove it, so that a return to it is proved likewise.
    """

    number: int = 0
    parent: int = 0
    owner: str = "cni-provision"
    by: str = ""
    inventory: str = ""
    source: str = ""
    time: str = ""
    states: dict[str, Optional[State]] = field(default_factory=dict)
    owned: tuple[str, ...] = ()
    found: dict[str, Optional[State]] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    reloads: tuple[Reload, ...] = ()
    due: tuple[str, ...] = ()
    verified: Optional[bool] = None
    incomplete: bool = False
    rollback_of: Optional[int] = None
    verify: Optional[dict[str, Any]] = None

    @property
    def digests(self) -> set[str]:
        """The bytes that returning to this generation, or to what was found, needs."""
        states = (*self.states.values(), *self.found.values())
        return {digest for state in states if (digest := digest_behind(state))}


def to_json(generation: Generation) -> dict[str, Any]:
    return asdict(generation)


def from_json(plain: Mapping[str, Any]) -> Generation:
    """The inverse of `to_json`; raises `TypeError`, `KeyError` or `ValueError` for anything else."""
    values = dict(plain)
    for name in ("states", "found"):
        values[name] = {key: state_from_json(value) for key, value in values[name].items()}
    for name in ("owned", "secret", "due"):
        values[name] = tuple(values[name])
    values["reloads"] = tuple(
        Reload(item["name"], tuple(item["argv"]), tuple(item["paths"])) for item in values["reloads"]
    )
    return Generation(**values)


def _path(number: int) -> str:
    return f"{paths.GENERATIONS}/{number}.json"


def record(generation: Generation) -> None:
    """Write or replace a record, durably."""
    text = json.dumps(to_json(generation), sort_keys=True, separators=(",", ":"))
    files.write_whole(_path(generation.number), text.encode())


def forget(number: int) -> None:
    """Remove a record that did not come true."""
    files.remove(_path(number))


def _numbers() -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        names = (name.partition(".") for name in os.listdir(paths.GENERATIONS))
        return sorted(int(number) for number, _, rest in names if rest == "json" and number.isdigit())
    return []


def load(number: int) -> Generation:
    """Raises `Failure` for a record that is not there or cannot be read."""
    try:
        with files.opened(_path(number), os.O_RDONLY) as descriptor:
            return from_json(json.loads(b"".join(files.chunks(descriptor))))
    except FileNotFoundError as error:
        raise Failure(f"this node has no generation {number}", hint="see `cni-provision status`") from error
    except (ValueError, TypeError, KeyError) as error:
        raise Failure(f"the record of generation {number} cannot be read: {error}") from error


@dataclass(frozen=True)
class History:
    """The kept generations, oldest first."""

    generations: tuple[Generation, ...] = ()

    @property
    def number(self) -> int:
        """The node's current generation; 0 is what we found."""
        return self.generations[-1].number if self.generations else 0

    def of(self, owner: str) -> Generation:
        """The owner's current generation; an empty one before its first."""
        return next(self.back(owner), Generation(owner=owner))

    def back(self, owner: str) -> Iterator[Generation]:
        """The owner's generations, newest first."""
        return (each for each in reversed(self.generations) if each.owner == owner)

    def others(self, owner: str) -> dict[str, Generation]:
        """Key → the current generation of anybody else to whom it belongs now."""
        names = {each.owner for each in self.generations} - {owner}
        current = [self.of(name) for name in sorted(names)]
        return {key: each for each in current for key in each.owned}

    def get(self, owner: str, number: int) -> Generation:
        """The owner's state when the node was at generation `number`; raises `Failure` if it is not kept."""
        newest = self.of(owner)
        if number == 0:
            return Generation(owner=owner, states=newest.found)
        found = next((each for each in self.back(owner) if each.number <= number), None)
        if found is None or number > self.number:
            kept = ", ".join(str(each.number) for each in self.back(owner)) or "none"
            raise Failure(
                f"generation {number} of `{owner}` is not kept on this node (kept: {kept})",
                hint="see `cni-provision status`",
            )
        return found

    def last_good(self, owner: str) -> Generation:
        """The last before the current one that verified; else the one before; else what we found."""
        earlier = list(self.back(owner))[1:]
        good = [each for each in earlier if each.verified]
        return (good or earlier or [self.get(owner, 0)])[0]


def history() -> History:
    """Every kept generation of this node."""
    return History(tuple(load(number) for number in _numbers()))


def forget_old() -> None:
    """Keep the last ten, each owner's current one, and the bytes that they need."""
    found = history()
    current = {found.of(each.owner).number for each in found.generations}
    kept = list(found.generations[-KEPT:])
    kept += [each for each in found.generations[:-KEPT] if each.number in current]
    numbers = {each.number for each in kept}
    for each in found.generations:
        if each.number not in numbers:
            files.remove(_path(each.number))
    blobs.discard_except({digest for each in kept for digest in each.digests})
