"""What the nodes' ends amount to: the table of those that failed, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cni_provision.cli.view.names import fold
from cni_provision.cli.view.table import table
from cni_provision.events import ApplyDone, NodeFailed

NOT_STARTED = "not started"
WORST_FIRST = ("failed", "timed out", "conflict", "denied", "busy", "unreachable", NOT_STARTED)
WHY = {"rolled back": "a check failed", "incomplete": "somebody else changed a file meanwhile"}


@dataclass
class Tally:
    """Nodes that are finished, well or not."""

    done: list[ApplyDone] = field(default_factory=list)
    failed: list[NodeFailed] = field(default_factory=list)

    @property
    def finished(self) -> int:
        return len(self.done) + len(self.failed)

    @property
    def failures(self) -> int:
        """Nodes that went wrong; those that were not started did not."""
        return sum(one.reason != NOT_STARTED for one in self.failed)

    @property
    def rolled_back(self) -> int:
        return sum(bool(one.rolled_back) for one in self.done)


def rank(failure: NodeFailed) -> int:
    return WORST_FIRST.index(failure.reason) if failure.reason in WORST_FIRST else 0


def failures(tally: Tally) -> list[str]:
    """The table of what did not go well: failed nodes with equal reasons together, then nodes that rolled back."""
    groups: dict[tuple[str, str, str | None], list[NodeFailed]] = {}
    for failure in sorted(tally.failed, key=rank):
        groups.setdefault((failure.reason, failure.message, failure.hint), []).append(failure)
    rows: list[Sequence[object]] = []
    for (reason, message, hint), members in groups.items():
        why = f"{message} (hint: {hint})" if hint else message
        rows.append((fold(one.node for one in members), reason, longest(members), why))
    undone: dict[str, list[ApplyDone]] = {}
    for done in tally.done:
        if done.rolled_back or done.incomplete:
            undone.setdefault("rolled back" if done.rolled_back else "incomplete", []).append(done)
    rows += [
        (fold(one.node for one in members), result, longest(members), WHY[result])
        for result, members in undone.items()
    ]
    return table(("node", "result", "seconds", "why"), rows)


def longest(members: Sequence[NodeFailed | ApplyDone]) -> str:
    seconds = [one.seconds for one in members if one.seconds is not None]
    return f"{max(seconds):.1f}" if seconds else ""


def finished_line(event: ApplyDone | NodeFailed) -> str:
    """One line for a log when a node is finished."""
    if isinstance(event, NodeFailed):
        reason = "" if event.message.startswith(event.reason) else f"{event.reason}: "
        return f"{event.node}: {reason}{event.message}"
    if event.rolled_back:
        return f"{event.node}: rolled back after a failed check, in {event.seconds:.1f}s"
    what = f"{event.changes} changed" if event.changes else "already right"
    return f"{event.node}: {what}, generation {event.generation}, in {event.seconds:.1f}s"
