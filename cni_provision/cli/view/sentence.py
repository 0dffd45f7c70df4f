"""The last line of each command: what it all amounts to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cni_provision.cli.view.names import fold
from cni_provision.cli.view.table import count, listed
from cni_provision.events import CheckResult, MeshResult, NodeFailed, Planned, Selected, Summary

NAMED = 4


def selected(event: Selected, asked: Planned | None = None) -> str:
    """What was read, and how long the question took."""
    what = f"{event.source}: {count(event.networks, 'network')}, {count(event.nodes, 'node')}"
    if asked is None or asked.seconds is None:
        return what
    return f"{what} · asked {count(asked.nodes, 'node')} in {asked.seconds:.1f}s"


def planned(event: Planned, failed: Sequence[NodeFailed]) -> str:
    """The sentence of a plan."""
    verb = "changes" if event.changing == 1 else "change"
    counts = f": {event.added} to add, {event.updated} to update, {event.removed} to remove"
    nothing = "nothing to change" if answered(event) else ""
    change = f"{count(event.changing, 'node')} {verb}{counts}" if event.changing else nothing
    return listed((change, right(event.unchanged), *failure_parts(failed)))


def answered(event: Planned) -> bool:
    """Whether anything is known: of nodes that did not answer nobody can say that they are right."""
    return event.changing + event.unchanged > 0 or event.failed + event.unreachable == 0


def right(unchanged: int) -> str:
    return f"{unchanged} already right" if unchanged else ""


def failure_parts(failed: Sequence[NodeFailed]) -> list[str]:
    """`1 unreachable (web-44: timed out after 10s)` for each reason."""
    parts = []
    for reason in dict.fromkeys(one.reason for one in failed):
        mine = [one for one in failed if one.reason == reason]
        messages = {one.message for one in mine}
        names = fold(one.node for one in mine)
        said = f" ({names}: {messages.pop()})" if len(messages) == 1 else f" ({names})"
        parts.append(f"{len(mine)} {reason}{said}")
    return parts


def differing(event: Planned, failed: Sequence[NodeFailed]) -> str:
    """The sentence of `diff`."""
    verb = "differs" if event.changing == 1 else "differ"
    nothing = "no drift" if answered(event) else ""
    change = f"{count(event.changing, 'node')} {verb}" if event.changing else nothing
    return listed((change, right(event.unchanged), *failure_parts(failed)))


def applied(event: Summary, failed: Sequence[NodeFailed], rolled_back: int) -> str:
    """The sentence of whatever changes nodes."""
    counts = f" ({event.added} added, {event.updated} updated, {event.removed} removed)"
    change = f"{count(event.changed, 'node')} changed{counts}" if event.changed else "0 changes"
    return listed((change, right(event.unchanged), rolled(rolled_back), *failure_counts(failed), took(event)))


def rolled(nodes: int) -> str:
    return f"{nodes} rolled back" if nodes else ""


def failure_counts(failed: Sequence[NodeFailed]) -> list[str]:
    """As many nodes for each reason; the table above says which."""
    reasons = Counter(one.reason for one in failed)
    return [f"{number} {reason}" for reason, number in reasons.items()]


def verified(results: Sequence[CheckResult], cells: Sequence[MeshResult], failed: Sequence[NodeFailed]) -> str:
    """The sentence of `verify`: nodes by whether everything asked of them passed."""
    judged: list[CheckResult | MeshResult] = [*results, *cells]
    bad = list(dict.fromkeys(one.node for one in judged if one.outcome == "fail"))
    good = {one.node for one in judged}.difference(bad)
    fails = f"{count(len(bad), 'node fails', 'nodes fail')} ({fold(bad)})" if bad else ""
    passes = f"{count(len(good), 'node passes', 'nodes pass')} every check" if good else ""
    return listed((fails, passes, *failure_parts(failed)))


def took(event: Summary) -> str:
    return "" if event.seconds is None else f"{event.seconds:.1f}s"


def validated(event: Selected | None, errors: int, warnings: int) -> str:
    """The sentence of `validate` and of every command that could not begin."""
    said = listed((count(errors, "error") if errors else "", count(warnings, "warning") if warnings else ""))
    if event is None:
        return said
    return listed((f"{selected(event)}: valid" if not errors else selected(event), said))
