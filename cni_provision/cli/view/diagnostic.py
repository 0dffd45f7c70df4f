"""A diagnostic as people read it, drawn from the event that `--json` prints, so that both say the same.

error: unknown key `isGatway` for plugin `bridge`
 --> hosts.yaml:6:9
  |
6 |         isGatway: true
  |         ^^^^^^^^
hint: did you mean `isGateway`?
"""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from cni_provision.cli.view.paint import Paint
from cni_provision.events import DiagnosticFound

ReadLine = Callable[[str, int], "str | None"]
COLORS = {"error": "red", "warning": "yellow"}
BULLET = "•"
SECRETIVE = re.compile(
    r"""(?i)([\w-]*(?:passw|passphrase|secret|token|psk|credential|api_?key|private_?key)[\w-]*["']?\s*[:=]\s*)"""
    r"""((?!!vault|["']?\{\{|[\[{>|])(?:"[^"]*"|'[^']*'|[^\s,}][^,}#]*))"""
)


def draw(found: DiagnosticFound, read_line: ReadLine, paint: Paint) -> list[str]:
    """The lines of one diagnostic; `read_line(file, number)` answers a source line or None."""
    if found.hidden:
        read_line = nothing
    lines = [paint(f"{found.severity}:", COLORS.get(found.severity, "bold"), "bold") + " " + headline(found)]
    if found.file:
        lines += excerpt(found.file, found.line, found.column, found.width, read_line, paint)
    for place in found.related or ():
        lines += related(place, read_line, paint)
    if found.hint:
        lines.append(paint("hint:", "cyan") + f" {found.hint}")
    return lines


def headline(found: DiagnosticFound) -> str:
    node = f"{found.node}: " if found.node else ""
    return f"{node}{found.message}"


def excerpt(
    file: str, line: int | None, column: int | None, width: int | None, read_line: ReadLine, paint: Paint
) -> list[str]:
    """Where it stands, the line itself, and carets under it."""
    spot = ":".join(str(part) for part in (file, line, column) if part)
    source = read_line(file, line) if line else None
    gutter = " " * len(str(line or 0))
    lines = [f"{gutter}{paint('-->', 'cyan')} {paint(spot, 'cyan')}"]
    if source is None:
        return lines
    bar = paint("|", "cyan")
    lines += [f"{gutter} {bar}", f"{paint(str(line), 'cyan')} {bar} {masked(source.expandtabs(1))}"]
    if column:
        room = max(1, len(source) - column + 1)
        lines.append(f"{gutter} {bar} {' ' * (column - 1)}{paint('^' * min(width or 1, room), 'red')}")
    return lines


def related(place: Mapping[str, Any], read_line: ReadLine, paint: Paint) -> list[str]:
    """A further place: the other declaration, the template line that used the value."""
    drawn = excerpt(place["file"], place.get("line"), place.get("column"), place.get("width"), read_line, paint)
    return [f"{paint('note:', 'bold')} {place['message']}", *drawn]


def masked(source: str) -> str:
    """A source line with bullets for a value whose key says that it is a secret; templates are none."""
    return SECRETIVE.sub(lambda found: found[1] + BULLET * len(found[2]), source)


def nothing(file: str, number: int) -> None:
    """Reads no line."""


def line_of(file: str, number: int) -> str | None:
    """The source line with that number, counted from 1; None when the file cannot be read (any more)."""
    return linecache.getline(os.path.abspath(file), number).rstrip("\r\n") or None
