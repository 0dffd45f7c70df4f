"""Many node names in few words: `web-[01-40,44]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

FIRST_NUMBER = re.compile(r"^(\D*)(\d+)(.*)$")
LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$")


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which `node-2` comes before `node-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


class Numbered(NamedTuple):
    """A name around one of its numbers; the digits stay text, so that leading zeros survive."""

    before: str
    digits: str
    after: str


def fold(names: Iterable[str]) -> str:
    """The names with consecutive numbers as ranges: of the first or the last number of each, whichever is shorter."""
    known = list(dict.fromkeys(names))
    return min((folded(known, pattern) for pattern in (FIRST_NUMBER, LAST_NUMBER)), key=len)


def folded(names: Sequence[str], pattern: re.Pattern[str]) -> str:
    families: dict[tuple[str, str] | str, list[Numbered]] = {}
    for name in names:
        found = pattern.match(name)
        parts = Numbered(*found.groups()) if found else None
        families.setdefault((parts.before, parts.after) if parts else name, []).extend([parts] if parts else [])
    return ", ".join(key if isinstance(key, str) else family(members) for key, members in families.items())


def family(members: Sequence[Numbered]) -> str:
    """One family (same text around the number) as one word."""
    runs = consecutive(sorted(members, key=lambda member: (int(member.digits), member.digits)))
    before, _, after = members[0]
    if len(members) == 1:
        return f"{before}{members[0].digits}{after}"
    ranges = (run[0].digits if len(run) == 1 else f"{run[0].digits}-{run[-1].digits}" for run in runs)
    return f"{before}[{','.join(ranges)}]{after}"


def consecutive(members: Iterable[Numbered]) -> list[list[Numbered]]:
    """Split sorted members into runs that count up by one in the same padding."""
    runs: list[list[Numbered]] = []
    for member in members:
        if runs and member.digits == successor(runs[-1]):
            runs[-1].append(member)
        else:
            runs.append([member])
    return runs


def successor(run: Sequence[Numbered]) -> str:
    return str(int(run[-1].digits) + 1).zfill(len(run[0].digits))
