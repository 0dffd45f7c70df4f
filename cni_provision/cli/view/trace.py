"""Executions of plugins as a tree: `exec --trace`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cni_provision.cli.view.paint import Paint
from cni_provision.cli.view.paper import harmless
from cni_provision.events import Executed

WIDEST = 96  # a JSON text that is longer has a line for each value
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
    """JSON on one line where it fits, otherwise indented; anything else as it is."""
    try:
        value = json.loads(content)
    except ValueError:
        return [harmless(line) for line in content.splitlines()]
    short = json.dumps(value, ensure_ascii=False)
    whole = short if len(short) <= WIDEST else json.dumps(value, ensure_ascii=False, indent=2)
    return [harmless(line) for line in whole.splitlines()]
