"""The journal of one transaction: `txn/N.stage` → `txn/N.json` (the commit point) → gone; `txn/N.undo` goes backward.

Its bytes are complete and durable before anything else is written: each rename decides without needing space.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cni_provision.node import files, generation, live, paths
from cni_provision.node.failure import Failure
from cni_provision.node.generation import Generation
from cni_provision.node.protocol import state_from_json
from cni_provision.plan import RELOADS, Change, group

STAGE, FORWARD, BACKWARD = "stage", "json", "undo"


@dataclass(frozen=True)
class Journal:
    """One transaction: the record that it will leave, its ordered steps, the reloads still to be done.

    `attributes`: labels and access lists by key of the files that are replaced or removed. `direction`
    is where recovery goes from here. `boot` is the boot in which it was written: live values do not outlast that.
    """

    record: Generation
    steps: tuple[Change, ...]
    due: tuple[str, ...] = ()
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    direction: str = STAGE
    boot: str = field(default_factory=live.boot)

    @property
    def rebooted(self) -> bool:
        return self.boot != live.boot()

    @property
    def before_reloads(self) -> list[Change]:
        return [step for step in self.steps if group(step) < RELOADS]

    @property
    def after_reloads(self) -> list[Change]:
        """Units that begin, and directories that leave."""
        return [step for step in self.steps if group(step) >= RELOADS]

    @property
    def path(self) -> str:
        return f"{paths.TRANSACTIONS}/{self.record.number}.{self.direction}"

    def write(self) -> None:
        """Write the journal anew, durably."""
        plain = {
            "record": generation.to_json(self.record),
            "steps": [asdict(step) for step in self.steps],
            "due": self.due,
            "attributes": self.attributes,
            "boot": self.boot,
        }
        files.write_whole(self.path, json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())

    def turn(self, direction: str) -> Journal:
        """Decide where recovery goes: one rename, made durable."""
        turned = replace(self, direction=direction)
        os.rename(self.path, turned.path)
        files.sync_directory(paths.TRANSACTIONS)
        return turned

    def strike(self, name: str) -> Journal:
        """A reload is done."""
        struck = replace(self, due=tuple(each for each in self.due if each != name))
        struck.write()
        return struck

    def close(self) -> None:
        """The transaction is over."""
        files.remove(self.path)
        files.sync_directory(paths.TRANSACTIONS)


def _from_json(plain: dict[str, Any], direction: str) -> Journal:
    steps = (
        Change(step["key"], state_from_json(step["before"]), state_from_json(step["after"]))
        for step in plain["steps"]
    )
    record = generation.from_json(plain["record"])
    return Journal(record, tuple(steps), tuple(plain["due"]), plain["attributes"], direction, plain.get("boot", ""))


def unfinished() -> list[Journal]:
    """The transactions that a dead run left, oldest first; remains of a journal that was never whole are removed."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(paths.TRANSACTIONS)):
            number, _, direction = name.partition(".")
            if number.isdigit() and direction in (STAGE, FORWARD, BACKWARD):
                found.append(_load(f"{paths.TRANSACTIONS}/{name}", direction))
            else:
                files.remove(f"{paths.TRANSACTIONS}/{name}")
    return sorted(found, key=lambda journal: journal.record.number)


def _load(path: str, direction: str) -> Journal:
    """Raises `Failure` for what no program of ours wrote whole."""
    try:
        with files.opened(path, os.O_RDONLY) as descriptor:
            return _from_json(json.loads(b"".join(files.chunks(descriptor))), direction)
    except (ValueError, TypeError, KeyError) as error:
        hint = f"another version wrote it, or the disk is broken: apply with that version, or take `{path}` away"
        raise Failure(f"the journal of an interrupted run cannot be read: {error}", hint=hint) from error
