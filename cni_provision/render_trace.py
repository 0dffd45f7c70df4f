"""Where a piece of rendered text comes from: which line of which template, and which value of the inventory.

A template is rendered a second time, only when something is wrong, with marks in its text: at every line of literal
text, and round every `{{ … }}`. The marks are taken out again and leave, for each offset, a stack of template lines:
the line that wrote it last, the lines that called its macro before. Which inventory value stood behind it is told by
the last key, the value, and the names that those lines use.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from cni_provision.inventory.model import Path, Value

Line = tuple[str, int]  # template's name, line from 1
MARK = re.compile("\x01([=+-])([^\x02]*)\x02")
NAME = re.compile(r"[a-z_][a-z0-9_]*")
SPACE = re.compile(r"[ \t\r\n]*")


class Marks(Extension):
    """Puts the marks into literal text (`=`: this line writes now) and round expressions (`+` and `-`)."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Called by Jinja with the tokens of a template, after white space control."""
        name = stream.name or ""
        for token in stream:
            line = token.lineno
            if token.type == "data":
                yield Token(line, "data", _mark_lines(token.value, name, line))
            elif token.type == "variable_begin":
                yield Token(line, "data", _mark("+", name, line))
                yield token
            elif token.type == "variable_end":
                yield token
                yield Token(line, "data", _mark("-", name, line))
            else:
                yield token


def _mark(sign: str, name: str, line: int) -> str:
    return f"\x01{sign}{name}:{line}\x02"


def _mark_lines(text: str, name: str, first: int) -> str:
    pieces = text.split("\n")
    return "\n".join(_mark("=", name, first + index) + piece for index, piece in enumerate(pieces))


@dataclass(frozen=True)
class Trace:
    """Rendered text without marks, and the stack of template lines from each of `offsets` on, innermost last."""

    text: str
    offsets: tuple[int, ...]
    stacks: tuple[tuple[Line, ...], ...]

    def lines_at(self, offset: int) -> tuple[Line, ...]:
        """The template lines that wrote what stands at an offset, innermost last; empty where it is not known."""
        index = bisect_right(self.offsets, offset) - 1
        return self.stacks[index] if index >= 0 else ()


def read(marked: str) -> Trace:
    """The trace of a text that was rendered with marks."""
    pieces: list[str] = []
    offsets, stacks = [], []
    stack: list[Line] = []
    length = end = 0
    for match in MARK.finditer(marked):
        pieces.append(marked[end : match.start()])
        length, end = length + match.start() - end, match.end()
        name, _, line = match[2].rpartition(":")
        stack = _next(stack, match[1], (name, int(line)))
        offsets.append(length)
        stacks.append(tuple(stack))
    return Trace("".join(pieces) + marked[end:], tuple(offsets), tuple(stacks))


def _next(stack: list[Line], sign: str, line: Line) -> list[Line]:
    if sign == "+":
        return [*stack[:-1], line, line]
    return [*stack[:-1], line] if sign == "=" else stack[:-1] or [line]


@dataclass(frozen=True)
class Spot:
    """Offsets of a value and, in a mapping, of its key."""

    value: int
    key: int | None = None


def spots(text: str) -> dict[Path, Spot]:
    """Where each value of a JSON text stands, by path; the text must be valid."""
    found: dict[Path, Spot] = {}
    _scan(text, _skip(text, 0), (), found)
    return found


def _skip(text: str, offset: int) -> int:
    match = SPACE.match(text, offset)
    return match.end() if match else offset


def _scan(text: str, start: int, path: Path, found: dict[Path, Spot]) -> int:
    """Note the value at `start` and all below it; answers the offset behind it."""
    found.setdefault(path, Spot(start))
    if text[start] not in "{[":
        return json.JSONDecoder().raw_decode(text, start)[1]
    offset, index = _skip(text, start + 1), 0
    while text[offset] not in "}]":
        key: str | int = index
        at_key = None
        if text[start] == "{":
            at_key = offset
            key, offset = scanstring(text, offset + 1)
            offset = _skip(text, _skip(text, offset) + 1)
        found[(*path, key)] = Spot(offset, at_key)
        offset = _skip(text, _scan(text, offset, (*path, key), found))
        offset, index = _skip(text, offset + 1) if text[offset] == "," else offset, index + 1
    return offset + 1


def origin(
    path: Path, value: Value, sources: Iterable[str], given: Mapping[str, Value], *, at_key: bool
) -> Path | None:
    """The parameter, or the value inside one, behind the value at `path` of the rendered document.

    `sources` are the template lines that wrote it, `given` the parameters of the inventory.
    """
    used = [name for source in sources for name in NAME.findall(source) if name in given]
    inside = list(_leaves({name: given[name] for name in used})) or list(_leaves(given))
    last = _fold(next((step for step in reversed(path) if isinstance(step, str)), ""))
    same_key = [place for place, item in inside if _fold(place[-1]) == last and (at_key or _same(item, value))]
    same_value = [] if at_key else [place for place, item in inside if _same(item, value)]
    for places in (same_key, same_value):
        if places:
            return places[0]
    return (used[0],) if used else None


def _fold(step: str | int) -> str:
    return str(step).lower().replace("_", "")


def _same(one: Value, other: Value) -> bool:
    return type(one) is type(other) and one == other


def _leaves(value: Value, path: Path = ()) -> Iterator[tuple[Path, Value]]:
    """Every value below, mappings and lists too, with its path."""
    pairs: Iterable[tuple[str | int, Value]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    for step, item in pairs:
        yield (*path, step), item
        yield from _leaves(item, (*path, step))
