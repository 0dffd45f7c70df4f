"""What a value may be, written as one line: `integer 0..4094`, `"l2" or "l3"`, `list of cidr`, `boolean or mapping`.

Templates declare their parameters and `conflist_plugins` the keys of plugins in this language:

    shape  = one { " or " one }
    one    = "list of " one | '"' literal '"' | base [ " " least ".." most ] | name of a record
    base   = string secret integer number boolean mapping list any address cidr interface mac path

A record is a mapping with known keys; its fields are lines `key: shape [?]`, where `?` says optional.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from cni_provision.inventory.model import Path, Value

LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """What is wrong with the value at `path`; with `at_key` it is the key that is wrong, not its value."""

    path: Path
    message: str
    hint: str | None = None
    at_key: bool = False
    severity: str = "error"

    def below(self, path: Path) -> Problem:
        """The same problem, seen from a value that holds this one at `path`."""
        return replace(self, path=path + self.path)


@dataclass(frozen=True)
class Field:
    """One known key of a record."""

    name: str
    shape: str
    required: bool


Records = Mapping[str, Mapping[str, Field]]
NO_RECORDS: Records = {}
FIELD = re.compile(r"^\s*(?P<name>[^\s:]+): (?P<shape>.*?)(?P<optional>\?)?$")
RANGE = re.compile(r"^(?P<base>integer|number) (?P<least>-?\d+)\.\.(?P<most>\d+)$")
MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$", re.IGNORECASE)
INTERFACE = re.compile(r"^(?!\.{1,2}$)[^/:\s]{1,15}$")


def is_address(value: Value) -> bool:
    """Whether this is the text of an IPv4 or IPv6 address without a prefix."""
    return isinstance(value, str) and _parses(ipaddress.ip_address, value)


def is_cidr(value: Value) -> bool:
    """Whether this is `address/prefix` without bits set behind the prefix."""
    return isinstance(value, str) and "/" in value and _parses(ipaddress.ip_network, value)


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _matches(pattern: re.Pattern[str]) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


BASES: Mapping[str, tuple[str, Callable[[Value], bool]]] = {
    "string": ("text", lambda value: isinstance(value, str)),
    "secret": ("text", lambda value: isinstance(value, str)),
    "integer": ("an integer", _is_integer),
    "number": ("a number", _is_number),
    "boolean": ("`true` or `false`", lambda value: isinstance(value, bool)),
    "mapping": ("a mapping", lambda value: isinstance(value, Mapping)),
    "list": ("a list", lambda value: isinstance(value, list | tuple)),
    "any": ("anything", lambda _value: True),
    "address": ("an IP address", is_address),
    "cidr": ("a subnet such as `10.1.0.0/24`, no bits set behind the prefix", is_cidr),
    "prefix": ("an address with its prefix, such as `10.1.0.7/24`", lambda value: is_prefix(value)),
    "interface": ("an interface name (1 to 15 characters, no `/`, `:` or space)", _matches(INTERFACE)),
    "mac": ("a MAC address such as `02:00:00:00:00:01`", _matches(MAC)),
    "path": ("an absolute path", lambda value: isinstance(value, str) and value.startswith("/")),
}


def is_prefix(value: Value) -> bool:
    """Whether this is `address/prefix`, host bits allowed."""
    return isinstance(value, str) and "/" in value and _parses(ipaddress.ip_interface, value)


def known(shape: str, records: Iterable[str] = ()) -> bool:
    """Whether every word of `shape` has a meaning."""
    parts = [part.removeprefix("list of ").removeprefix("list of ") for part in shape.split(" or ")]
    names = {*BASES, *records}
    return all(part in names or RANGE.match(part) or _literal(part) is not None for part in parts)


def is_secret(shape: str) -> bool:
    """Whether a value of this shape must not be shown."""
    return "secret" in shape.split()


def describe(shape: str) -> str:
    """The shape in words, to stand after "must be"."""
    parts = [_describe_one(part) for part in shape.split(" or ") if part != '""']
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _describe_one(part: str) -> str:
    if part.startswith("list of "):
        return f"a list, each {_describe_one(part.removeprefix('list of '))}"
    literal = _literal(part)
    if literal is not None:
        return f"`{literal}`"
    limits = RANGE.match(part)
    if limits:
        return f"{BASES[limits['base']][0]} from {limits['least']} to {limits['most']}"
    return BASES[part][0] if part in BASES else "a mapping"


def shown(value: Value) -> str:
    """A value for a message: JSON between backticks, shortened."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return f"`{text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + '…'}`"


def problems(shape: str, value: Value, what: str, records: Records = NO_RECORDS) -> list[Problem]:
    """What keeps `value` from being a `shape`; `what` names it in messages. Paths are relative to it."""
    attempts = [_one(part, value, what, records) for part in shape.split(" or ")]
    if any(not attempt for attempt in attempts):
        return []
    inner = [attempt for attempt in attempts if any(problem.path for problem in attempt)]
    if len(inner) == 1:
        return inner[0]
    instead = "" if is_secret(shape) else f", not {shown(value)}"
    return [Problem((), f"{what} must be {describe(shape)}{instead}")]


def _one(part: str, value: Value, what: str, records: Records) -> list[Problem]:
    """The problems of one alternative; problems of the value as a whole have an empty path."""
    if part.startswith("list of ") and isinstance(value, list | tuple):
        return _each(part.removeprefix("list of "), value, what, records)
    if part in records and isinstance(value, Mapping):
        return list(record_problems(records[part], value, what, records))
    if _fits(part, value):
        return []
    return [Problem((), f"{what} must be {_describe_one(part)}, not {shown(value)}")]


def _each(part: str, values: Iterable[Value], what: str, records: Records) -> list[Problem]:
    return [
        problem.below((index,))
        for index, value in enumerate(values)
        for problem in problems(part, value, f"item {index + 1} of {what}", records)
    ]


def _fits(part: str, value: Value) -> bool:
    """Whether a value is of a base, is the literal, or lies in the range; not for lists and records."""
    if part in BASES:
        return BASES[part][1](value)
    literal, limits = _literal(part), RANGE.match(part)
    if literal is not None:
        return bool(value == literal)
    if limits is None or not BASES[limits["base"]][1](value):
        return False
    return bool(int(limits["least"]) <= value <= int(limits["most"]))


def _literal(part: str) -> str | None:
    return part[1:-1] if len(part) > 1 and part[0] == part[-1] == '"' else None


@cache
def fields(text: str) -> Mapping[str, Field]:
    """The fields of a record, one a line, by name in lower case (Go's decoder ignores case)."""
    found = (FIELD.match(line) for line in text.splitlines() if line.strip())
    lines = [match for match in found if match]
    return {m["name"].lower(): Field(m["name"], m["shape"].strip(), required=not m["optional"]) for m in lines}


def record_problems(
    known_fields: Mapping[str, Field], value: Mapping[str, Value], what: str, records: Records = NO_RECORDS
) -> Iterator[Problem]:
    """Unknown, doubled, missing and wrong keys of a mapping; keys are compared without regard to case."""
    seen: dict[str, str] = {}
    for key, item in value.items():
        field = known_fields.get(key.lower())
        if field is None:
            yield Problem((key,), f"unknown key `{key}` for {what}", close(key, known_fields), at_key=True)
        elif key.lower() in seen:
            yield Problem((key,), f"`{key}` and `{seen[key.lower()]}` are one key for {what}", at_key=True)
        else:
            found = problems(field.shape, item, f"`{key}` of {what}", records)
            yield from (problem.below((key,)) for problem in found)
        seen.setdefault(key.lower(), key)
    for lower, field in known_fields.items():
        if field.required and lower not in seen:
            yield Problem((), f"{what} needs `{field.name}`: {describe(field.shape)}")


def close(word: str, known_fields: Mapping[str, Field]) -> str | None:
    """A hint with the known name that looks most like `word`, or None."""
    return did_you_mean(word, (field.name for field in known_fields.values()))


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """A hint with the name that looks most like `word`, or None."""
    by_plain = {name.lower().replace("_", "").replace("-", ""): name for name in names}
    plain = word.lower().replace("_", "").replace("-", "")
    found = difflib.get_close_matches(plain, by_plain, 1)
    return f"did you mean `{by_plain[found[0]]}`?" if found else None


def plain_problems(value: Value, path: Path = ()) -> Iterator[Problem]:
    """What JSON has no form for: dates, bytes, NaN, keys that are not text."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str):
                yield from plain_problems(item, (*path, key))
            else:
                yield Problem((*path, key), f"the key {shown(key)} is not text", "put it in quotes", at_key=True)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from plain_problems(item, (*path, index))
    elif not (value is None or isinstance(value, str | bool) or _is_number(value)):
        kind = type(value).__name__
        yield Problem(path, f"{shown(value)} is a {kind}, which JSON does not have", "put it in quotes")
