"""`cni_provision.cli.run.asking`: the exit code and the counts of a round, from its outcomes alone."""

from __future__ import annotations

import pytest

from cni_provision.cli.run.asking import Answers, exit_code, planned, summary
from cni_provision.errors import Busy, NodeError, NotStarted, Unreachable
from cni_provision.fleet import Outcome, RunInterrupted
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import CheckOutcome, Reply
from cni_provision.plan import Change, File

CHANGE = Change("file:/a", None, File("/a", "00"))
REMOVAL = Change("file:/b", File("/b", "00"), None)
SAME = Reply(applied=True)
CHANGED = Reply(applied=True, changes=(CHANGE, REMOVAL))
UNDONE = Reply(applied=True, changes=(CHANGE,), rolled_back=True)
FAILED_CHECK = Reply(outcomes=(CheckOutcome("digests", "fail"),))
DEAD, BUSY, WAITING = Unreachable("no route"), Busy("locked"), NotStarted("not started")


def answers(*ends: Reply | NodeError, signal: int = 0) -> Answers:
    outcomes = tuple(
        Outcome(
            Node(f"n{index}", (), Connection(), Declarations()),
            end if isinstance(end, Reply) else None,
            end if isinstance(end, NodeError) else None,
        )
        for index, end in enumerate(ends)
    )
    return Answers(outcomes, 1.0, RunInterrupted(signal, outcomes) if signal else None)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (answers(), 0),
        (answers(SAME, CHANGED), 0),
        (answers(SAME, FAILED_CHECK), 2),
        (answers(FAILED_CHECK, DEAD), 4),
        (answers(SAME, DEAD, DEAD), 4),
        (answers(DEAD, BUSY), 3),
        (answers(UNDONE, SAME), 3),
        (answers(DEAD, WAITING), 4),
        (answers(BUSY, WAITING), 3),
        (answers(SAME, WAITING), 3),
        (answers(UNDONE, FAILED_CHECK), 3),
        (answers(SAME, WAITING, signal=2), 130),
        (answers(BUSY, WAITING, signal=15), 143),
    ],
)
def test_exit_code(given: Answers, code: int) -> None:
    assert exit_code(given) == code


@pytest.mark.parametrize(
    ("given", "code"), [(answers(SAME), 0), (answers(Reply(changes=(CHANGE,))), 2), (answers(CHANGED, DEAD), 4)]
)
def test_exit_code_of_drift(given: Answers, code: int) -> None:
    assert exit_code(given, drift_is_no=True) == code


def test_counts_of_a_plan() -> None:
    event = planned(answers(Reply(changes=(CHANGE, REMOVAL)), Reply(), DEAD, BUSY))
    assert (event.nodes, event.changing, event.unchanged, event.failed, event.unreachable) == (4, 1, 1, 1, 1)
    assert (event.added, event.updated, event.removed) == (1, 0, 1)


def test_counts_of_a_run() -> None:
    earlier = answers(DEAD).outcomes
    event = summary(answers(CHANGED, SAME, UNDONE, BUSY, WAITING), earlier=earlier)
    assert (event.nodes, event.changed, event.unchanged, event.failed) == (6, 1, 1, 2)
    assert (event.unreachable, event.not_started, event.added, event.removed) == (1, 1, 1, 1)
    assert event.exit_code == 3
