"""`--limit`: Ansible's host patterns.

Parts are separated by `,` (or `:`). A part is a group, a host, a glob, `~regex`, or `@file` with one part a line;
`&part` keeps only, `!part` leaves out; `part[0]`, `part[-1]`, `part[1:3]` and `part[2:]` take from what it
matches, both ends included. Plain parts come first, then `&`, then `!`, in whatever order they are written.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Sequence

from cni_provision.errors import Place, UserError
from cni_provision.inventory.complaints import did_you_mean
from cni_provision.inventory.ranges import split_port
from cni_provision.inventory.tree import ALL, Tree

SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]")
BETWEEN_COLONS = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
GLOB_SIGNS = frozenset(".?*[")


def select(tree: Tree, limit: str | None) -> tuple[str, ...]:
    """The hosts that a limit selects, in the inventory's order; all of them without one. Raises UserError."""
    if limit is None:
        return tree.members(ALL)
    parts = [part for text in split(limit) for part in from_file(text)]
    chosen: dict[str, None] = {}
    for part in in_turn(parts):
        matched = matching(tree, part.lstrip("&!") if part[0] in "&!" else part, limit)
        if part.startswith("!"):
            chosen = {host: None for host in chosen if host not in matched}
        elif part.startswith("&"):
            chosen = {host: None for host in chosen if host in matched}
        else:
            chosen |= dict.fromkeys(matched)
    if not chosen:
        raise UserError(f"the limit `{limit}` selects no host", place=Place(f"--limit {limit}"))
    return tuple(host for host in tree.members(ALL) if host in chosen)


def split(limit: str) -> list[str]:
    """The parts of a pattern; colons separate only where there is no comma, no port and no address."""
    if "," in limit:
        parts = limit.split(",")
    elif is_address(limit) or (split_port(limit)[1] and limit[0] not in "&!"):
        parts = [limit]
    else:
        parts = BETWEEN_COLONS.findall(limit)
    return [part.strip() for part in parts if part.strip()]


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def from_file(part: str) -> list[str]:
    """`@file` is its lines, anything else itself."""
    if not part.startswith("@"):
        return [part]
    try:
        with open(part[1:], encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except OSError as error:
        raise UserError(f"cannot read `{part[1:]}`: {error.strerror}", place=Place(f"--limit {part}")) from error


def in_turn(parts: Sequence[str]) -> list[str]:
    """Plain parts (all hosts if there is none), then `&`, then `!`."""
    keeps = [part for part in parts if part.startswith("&")]
    drops = [part for part in parts if part.startswith("!")]
    plain = [part for part in parts if part[0] not in "&!"]
    return (plain or [ALL]) + keeps + drops


def matching(tree: Tree, part: str, limit: str) -> dict[str, None]:
    """The hosts of one part without its sign."""
    if part in tree.hosts:
        return {part: None}
    found = None if part.startswith("~") else SUBSCRIPT.fullmatch(part)
    expression = found[1] if found else part
    hosts = list(enumerate_hosts(tree, expression, limit))
    if found and hosts:
        hosts = subscripted(hosts, found, part, limit)
    return dict.fromkeys(hosts)


def enumerate_hosts(tree: Tree, expression: str, limit: str) -> dict[str, None]:
    """Hosts of the groups that match; hosts that match, unless a plain word was a group."""
    pattern = compiled(expression, limit)
    groups = [name for name in tree.groups if pattern.match(name)]
    hosts = {host: None for name in groups for host in tree.members(name)}
    if not groups or expression.startswith("~") or GLOB_SIGNS & set(expression):
        hosts |= {host: None for host in tree.hosts if pattern.match(host)}
    if not hosts and not groups:
        hint = did_you_mean(expression.strip("*~"), (*tree.groups, *tree.hosts))
        raise UserError(f"no host or group matches `{expression}`", place=Place(f"--limit {limit}"), hint=hint)
    return hosts


def compiled(expression: str, limit: str) -> re.Pattern[str]:
    try:
        return re.compile(expression[1:] if expression.startswith("~") else fnmatch.translate(expression))
    except re.error as error:
        raise UserError(
            f"`{expression}` is no regular expression: {error}", place=Place(f"--limit {limit}")
        ) from error


def subscripted(hosts: Sequence[str], found: re.Match[str], part: str, limit: str) -> list[str]:
    """One host by its index, or a slice with both ends."""
    index, start, end = found[2], found[3], found[4]
    if index is None:
        return list(hosts[int(start) : int(end) + 1 if end else None])
    try:
        return [hosts[int(index)]]
    except IndexError:
        count = len(hosts)
        raise UserError(
            f"`{part}` is out of range: there are {count} hosts, counted from 0", place=Place(f"--limit {limit}")
        ) from None
