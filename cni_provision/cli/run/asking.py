"""Ask a fleet and sum up: what came of each node, and what that means for the exit code."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cni_provision.cli.exit_codes import Exit, decide
from cni_provision.cli.run.costs import Costs, hint
from cni_provision.cli.run.passwords import secrets
from cni_provision.errors import NotStarted
from cni_provision.events import Planned, Progress, Summary
from cni_provision.fleet import Job, Options, Outcome, Portion, RunInterrupted
from cni_provision.fleet import run as run_fleet

if TYPE_CHECKING:
    from cni_provision.cli.options import Reach
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.plan import Change

SIGNS = ("+", "~", "-")


@dataclass(frozen=True)
class Answers:
    """The outcomes of one round, in the order of the nodes; `interrupted`: a signal ended it early."""

    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    interrupted: RunInterrupted | None = None

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The nodes that could not be served, or were not reached before the run ended."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    @property
    def answered(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.reply)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes of all nodes: planned or done."""
        return tuple(change for outcome in self.answered for change in kept_changes(outcome))

    @property
    def changing(self) -> int:
        return sum(bool(kept_changes(outcome)) for outcome in self.answered)


class Fleet:
    """One run's way to its nodes: options and passwords are read once, then any number of rounds."""

    def __init__(self, reach: Reach, emit: Emit) -> None:
        self.options = options(reach)
        self.emit = emit
        self.hinted = False

    def ask(self, jobs: Sequence[Job], emit: Emit | None = None) -> Answers:
        """One round; a signal ends it with what is known by then."""
        began, before = time.monotonic(), Costs.now()
        interrupted = None
        try:
            outcomes = asyncio.run(run_fleet(jobs, self.options, emit or self.emit))
        except RunInterrupted as signal:
            outcomes, interrupted = signal.outcomes, signal
        self._tell_costs(jobs, Costs.now().since(before))
        return Answers(outcomes, round(time.monotonic() - began, 3), interrupted)

    def _tell_costs(self, jobs: Sequence[Job], spent: Costs) -> None:
        """Once a run."""
        told = None if self.hinted else hint(jobs, spent)
        if told:
            self.hinted = True
            self.emit(Progress(told))


def options(reach: Reach) -> Options:
    """The fleet's options from the command line's."""
    return Options(
        forks=reach.forks,
        serial=Portion.parse(reach.serial) if reach.serial else None,
        max_fail=Portion.parse(reach.max_fail) if reach.max_fail else None,
        deadline=reach.timeout or Options.deadline,
        secrets=secrets(reach),
        mux=reach.mux,
    )


def kept_changes(outcome: Outcome) -> tuple[Change, ...]:
    """A node's changes, unless they were undone."""
    return outcome.reply.changes if outcome.reply and not outcome.reply.rolled_back else ()


def exit_code(answers: Answers, *, drift_is_no: bool = False) -> int:
    """The code of one round; see `cli.exit_codes`."""
    # a node that was not started is no failure of its own: what stopped the run says which code it is
    asked = [outcome for outcome in answers.outcomes if not isinstance(outcome.error, NotStarted)]
    waiting = len(asked) < len(answers.outcomes) and not any(outcome.error for outcome in asked)
    stopped = [answers.interrupted.exit_code] if answers.interrupted else []
    codes = [code_of(outcome, drift_is_no=drift_is_no) for outcome in asked]
    return decide([*stopped, *codes, Exit.NODES_FAILED if waiting else Exit.YES])


def code_of(outcome: Outcome, *, drift_is_no: bool) -> int:
    """One node's code."""
    if outcome.error:
        return outcome.error.exit_code
    assert outcome.reply
    if outcome.reply.rolled_back or (outcome.reply.incomplete and outcome.reply.applied):
        return Exit.NODES_FAILED
    failed_check = any(check.outcome == "fail" for check in outcome.reply.outcomes)
    drifted = drift_is_no and bool(outcome.reply.changes)
    return Exit.NO if failed_check or drifted else Exit.YES


def planned(answers: Answers) -> Planned:
    """The counts of a plan."""
    signs = Counter(change.sign for change in answers.changes)
    added, updated, removed = (signs[sign] for sign in SIGNS)
    unreachable = sum(is_unreachable(outcome) for outcome in answers.failed)
    return Planned(
        nodes=len(answers.outcomes),
        changing=answers.changing,
        unchanged=len(answers.answered) - answers.changing,
        failed=len(answers.failed) - unreachable,
        unreachable=unreachable,
        added=added,
        updated=updated,
        removed=removed,
        seconds=answers.seconds,
    )


def summary(answers: Answers, *, drift_is_no: bool = False, earlier: Iterable[Outcome] = ()) -> Summary:
    """The counts of a run; `earlier` are nodes that had failed before this round and were not asked again."""
    whole = Answers((*earlier, *answers.outcomes), answers.seconds, answers.interrupted)
    signs = Counter(change.sign for change in whole.changes)
    added, updated, removed = (signs[sign] for sign in SIGNS)
    unreachable = sum(is_unreachable(outcome) for outcome in whole.failed)
    not_started = sum(isinstance(outcome.error, NotStarted) for outcome in whole.failed)
    rolled_back = sum(outcome.reply.rolled_back for outcome in whole.answered if outcome.reply)
    return Summary(
        exit_code=exit_code(whole, drift_is_no=drift_is_no),
        nodes=len(whole.outcomes),
        changed=whole.changing,
        unchanged=len(whole.answered) - whole.changing - rolled_back,
        failed=len(whole.failed) - unreachable - not_started + rolled_back,
        unreachable=unreachable,
        not_started=not_started,
        added=added,
        updated=updated,
        removed=removed,
        notes=(answers.interrupted.message,) if answers.interrupted else (),
    )


def is_unreachable(outcome: Outcome) -> bool:
    return outcome.error is not None and outcome.error.exit_code == Exit.UNREACHABLE
