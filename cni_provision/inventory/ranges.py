"""Host names as Ansible's inventories write them: ranges, and a port behind a colon."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

RANGE = re.compile(r"\[([^\[\]]*)\]")
BRACKETED_PORT = re.compile(r"\[(.+)\]:([0-9]+)")
PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)")


def expand(pattern: str) -> tuple[list[str], int | None]:
    """The names of a host pattern such as `node[01:50:2]-[a:f]:2222`, and its port. Raises ValueError."""
    name, port = split_port(pattern)
    return (expand_ranges(name) if "[" in name else [name]), port


def split_port(pattern: str) -> tuple[str, int | None]:
    found = BRACKETED_PORT.fullmatch(pattern) or PORT.fullmatch(pattern)
    return (found[1], int(found[2])) if found else (pattern, None)


def expand_ranges(pattern: str) -> list[str]:
    """Every name of a pattern, the last range running fastest."""
    found = RANGE.search(pattern)
    if not found:
        if "[" in pattern:
            raise ValueError(f"`{pattern}` has a `[` without `]`")
        return [pattern]
    head = pattern[: found.start()]
    tails = expand_ranges(pattern[found.end() :])
    return [head + item + tail for item in sequence(found[1]) for tail in tails]


def sequence(text: str) -> Sequence[str]:
    """The items of `begin:end` or `begin:end:step`, numbers (with leading zeros) or letters, both ends in."""
    bounds = text.split(":")
    if len(bounds) not in (2, 3):
        raise ValueError(f"the range `[{text}]` is not `[begin:end]` or `[begin:end:step]`")
    begin, end, step = bounds[0] or "0", bounds[1], bounds[2] if len(bounds) == 3 else "1"
    if not end:
        raise ValueError(f"the range `[{text}]` has no end")
    if not step.isdigit() or int(step) < 1:
        raise ValueError(f"the step of the range `[{text}]` is not a positive number")
    return letters(text, begin, end, int(step)) or numbers(text, begin, end, int(step))


def letters(text: str, begin: str, end: str, step: int) -> Sequence[str]:
    """The letters from one to another, lower case before upper case; empty if the bounds are no letters."""
    if len(begin) != 1 or len(end) != 1 or begin not in string.ascii_letters or end not in string.ascii_letters:
        return ()
    first, last = string.ascii_letters.index(begin), string.ascii_letters.index(end)
    if first > last:
        raise ValueError(f"the range `[{text}]` ends before it begins")
    return string.ascii_letters[first : last + 1 : step]


def numbers(text: str, begin: str, end: str, step: int) -> Sequence[str]:
    if not (begin.isdigit() and end.isdigit()):
        raise ValueError(f"the range `[{text}]` is neither of numbers nor of letters")
    padded = begin.startswith("0") and len(begin) > 1
    if padded and len(begin) != len(end):
        raise ValueError(f"the bounds of the range `[{text}]` have leading zeros but not the same length")
    if int(begin) > int(end):
        raise ValueError(f"the range `[{text}]` ends before it begins")
    return [str(number).zfill(len(begin) if padded else 1) for number in range(int(begin), int(end) + 1, step)]
