"""Executions of plugins as a tree: `exec --trace`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cni_provision.cli.view.paint import Paint
from cni_provision.cli.view.paper import harmless
from cni_provision.events import Executed

WIDEST = 88  # columns of a JSON value on one line
STREAMS = ("stdin", "stdout", "stderr")


def text(event: Executed, paint: Paint) -> list[str]:
    """One execution: its sum, and what went in and came out; each level is indented by two columns."""
    ending = f"exit code {event.code}" if event.code >= 0 else f"killed by signal {-event.code}"
    said = paint(ending, "red") if event.code else ending
    called = " (executed by the plugin above)" if event.depth else ""
    title = paint(harmless(f"{event.command} {event.plugin}"), "bold")
    head = f"{title}: {said}, {event.seconds * 1000:.1f} ms{called}"
    lines = [head, *(line for name in STREAMS for line in stream(name, getattr(event, name), paint))]
    bar = paint("│ ", "dim") * event.depth
    return [bar + line for line in lines]


def stream(name: str, content: str, paint: Paint) -> Iterator[str]:
    """`│ stdin   {…}`; further lines stand under the first one."""
    for number, line in enumerate(readable(content)):
        title = " " * len(name) if number else paint(name, "cyan")
        yield f"{paint('│', 'dim')} {title}{' ' * (8 - len(name))}{line}"


def readable(content: str) -> list[str]:
    """JSON with a line for each value that needs one; anything else as it is."""
    try:
        return [harmless(line) for line in spread(json.loads(content))]
    except (ValueError, RecursionError):
        return [harmless(line) for line in content.splitlines()]


def spread(value: Any, before: str = "", after: str = "") -> Iterator[str]:
    """A value on one line where it fits, else its parts on lines of their own, two columns further in."""
    short = f"{before}{quoted(value)}{after}"
    if len(short) <= WIDEST or not isinstance(value, dict | list) or not value:
        yield short
        return
    parts = [(f"{quoted(key)}: ", one) for key, one in value.items()] if isinstance(value, dict) else unnamed(value)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield before + opening
    for number, (key, one) in enumerate(parts, 1):
        yield from (f"  {line}" for line in spread(one, key, "," if number < len(parts) else ""))
    yield closing + after


def unnamed(values: list[Any]) -> list[tuple[str, Any]]:
    return [("", one) for one in values]


def quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
