"""Planned changes as one unified diff, the node as the first folder of each path; fit for `patch` and for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cni_provision.cli.view.changes import body
from cni_provision.cli.view.names import fold
from cni_provision.cli.view.paint import Paint
from cni_provision.events import PlannedChange

ABSENT = "/dev/null"


def text(changes: Iterable[PlannedChange], paint: Paint) -> list[str]:
    """The diff of all changes; a change that many nodes share stands once."""
    nodes: dict[PlannedChange, list[str]] = {}
    for change in changes:
        nodes.setdefault(replace(change, node=""), []).append(change.node)
    lines: list[str] = []
    for change, names in nodes.items():
        lines += one(change, fold(names).replace(", ", ","), paint)
    return lines


def one(change: PlannedChange, node: str, paint: Paint) -> list[str]:
    path = change.path if change.path.startswith("/") else f"/{change.path.replace(':', '/', 1)}"
    before = ABSENT if change.sign == "+" else f"{node}{path}"
    after = ABSENT if change.sign == "-" else f"{node}{path}"
    lines = body(change.diff) if change.diff else values(change)
    return [paint(f"--- {before}", "bold"), paint(f"+++ {after}", "bold"), *map(paint.signed, lines)]


def values(change: PlannedChange) -> list[str]:
    """What has no text (an executable, a live value) differs in one line: its digest or value, with the note."""
    removed = [f"-{change.before or ''}"] if change.sign != "+" else []
    added = [f"+{change.after or ''}"] if change.sign != "-" else []
    same = bool(removed and added and removed[0][1:] == added[0][1:])
    note = f" ({change.note})" if change.note and same else ""
    old, new = ("1" if lines else "0,0" for lines in (removed, added))
    return [f"@@ -{old} +{new} @@", *removed, *[line + note for line in added]]
