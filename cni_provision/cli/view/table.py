"""Columns of text, as wide as their widest cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a left-aligned table; columns that are empty throughout are left out, None is an empty cell;
    without rows there are no lines.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        return []
    kept = [index for index in range(len(head)) if any(row[index] for row in cells)]
    lines = [[row[index] for index in kept] for row in [list(head), *cells]]
    widths = [max(len(line[index]) for line in lines) for index in range(len(kept))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def listed(parts: Iterable[str]) -> str:
    """The parts that say something, as one line."""
    return " · ".join(part for part in parts if part)
