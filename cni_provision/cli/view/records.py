"""What nodes have, as tables: their own record (`status`) and their plugins (`plugin list`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cni_provision.cli.view.changes import short
from cni_provision.cli.view.names import fold
from cni_provision.cli.view.table import count, listed, table
from cni_provision.events import NodeStatus, PluginFound

Row = tuple[object, ...]


def statuses(events: Iterable[NodeStatus]) -> list[str]:
    """One row per node; nodes that say the same share one."""
    rows: dict[Row, list[str]] = {}
    for event in events:
        rows.setdefault(status_row(event), []).append(event.node)
    return table(
        ("node", "generation", "by", "at", "drift", "server", "notes"),
        [(fold(names), *row) for row, names in rows.items()],
    )


def status_row(event: NodeStatus) -> Row:
    drift = None if event.drift is None else (count(event.drift, "change") if event.drift else "none")
    notes = listed(("incomplete" if event.incomplete else "", *(event.notes or ())))
    return (event.generation or "none", event.by, event.at, drift, event.server, notes)


def servers(events: Iterable[NodeStatus]) -> list[str]:
    """What each warm server counted: calls by verb with their times, and whom it did not serve."""
    rows = [row for event in events if event.server for row in server_rows(event)]
    return table(("node", "server", "calls", "failed", "p50", "p99"), rows)


def server_rows(event: NodeStatus) -> list[Row]:
    told = (event.facts or {}).get("server", {})
    rows: list[Row] = [
        (event.node, verb, each["count"], each["failed"] or None, f"{each['p50_ms']:g} ms", f"{each['p99_ms']:g} ms")
        for verb, each in told.get("requests", {}).items()
    ]
    return rows + [
        (event.node, f"not served: {reason}", n, None, None, None) for reason, n in told.get("cold", {}).items()
    ]


def plugins(events: Iterable[PluginFound]) -> list[str]:
    """A table per set of nodes that have the same plugins."""
    nodes: dict[str, list[Row]] = {}
    for event in events:
        nodes.setdefault(event.node, []).append(plugin_row(event))
    groups: dict[tuple[Row, ...], list[str]] = {}
    for node, rows in nodes.items():
        groups.setdefault(tuple(rows), []).append(node)
    lines: list[str] = []
    for group, names in groups.items():
        lines.append(fold(names) + (f"  ({count(len(names), 'node')})" if len(names) > 1 else ""))
        head = ("plugin", "version", "digest", "specification", "owner", "notes")
        lines += [f"  {line}" for line in table(head, group)]
    return lines


def plugin_row(event: PluginFound) -> Row:
    return (event.plugin, event.version, short(event.digest), span(event.versions), event.owner, event.message)


def span(versions: Sequence[str] | None) -> str | None:
    """`0.1.0 … 1.1.0` for a list of versions in their order."""
    if not versions:
        return None
    return versions[0] if len(versions) == 1 else f"{versions[0]} … {versions[-1]}"
