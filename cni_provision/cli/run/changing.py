"""The way of every command that changes nodes: plan, show, ask, do exactly that, say what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cni_provision.cli.exit_codes import Exit, decide
from cni_provision.cli.run import retry
from cni_provision.cli.run.asking import Answers, Fleet, exit_code, planned, summary
from cni_provision.cli.run.prompt import can_ask, confirm
from cni_provision.cli.run.selection import select
from cni_provision.cli.view.names import fold
from cni_provision.cli.view.table import count
from cni_provision.events import Event, NodeFailed
from cni_provision.fleet import Job, Outcome

if TYPE_CHECKING:
    from cni_provision.cli.options import Consent, Reach, Selection
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.events import Summary
    from cni_provision.inventory.model import Inventory

PROGRAM = "cni-provision"


@dataclass(frozen=True)
class Asked:
    """What a command line says of any change: of which nodes, what it waits for, and how they are reached."""

    selection: Selection
    consent: Consent
    reach: Reach

    def doing(self, verb: str, jobs: Sequence[Job], source: str) -> Doing:
        """The jobs with how long they wait for another run, and what may stand in their way."""
        patience, force = self.reach.lock_timeout, self.consent.force
        insisting = [replace(job, request=replace(job.request, lock_timeout=patience, force=force)) for job in jobs]
        return Doing(verb, insisting, self.consent, self.selection, source)


@dataclass(frozen=True)
class Doing:
    """A change of many nodes: its verb, its jobs, what it waits for, and how to run it again."""

    verb: str
    jobs: Sequence[Job]
    consent: Consent
    selection: Selection
    source: str


def change_all(emit: Emit, verb: str, asked: Asked, jobs_of: Callable[[Inventory], Sequence[Job]]) -> Summary:
    """A change of every selected node, from the command line to the sum."""
    if not asked.consent.yes:
        can_ask(verb)
    inventory = select(asked.selection, emit)
    return change(Fleet(asked.reach, emit), asked.doing(verb, jobs_of(inventory), inventory.source))


def change(fleet: Fleet, doing: Doing) -> Summary:
    """Do it at once when it is confirmed already; else plan, ask, and do what was planned."""
    if doing.consent.yes and not doing.consent.all_or_none:
        return send(fleet, doing)
    answers = propose(fleet, doing.verb, doing.jobs)
    if answers.interrupted or not answers.answered:
        return summary(answers)
    if doing.consent.all_or_none and (names := standing_in_the_way(doing.jobs, answers)):
        return not_begun(answers, names)
    if answers.changing and not doing.consent.yes:
        confirm(f"{doing.verb.capitalize()} on {count(answers.changing, 'node')}?")
    done = fleet.ask(expecting(doing.jobs, answers))
    return finished(doing, done, answers.failed)


def send(fleet: Fleet, doing: Doing) -> Summary:
    """Do exactly what the jobs say; with `all_or_none` only where every node would do it now."""
    if doing.consent.all_or_none:
        answers = fleet.ask(planning(doing.verb, doing.jobs), failures_only(fleet.emit))
        if answers.interrupted:
            return summary(answers)
        if names := standing_in_the_way(doing.jobs, answers):
            return not_begun(answers, names)
    return finished(doing, fleet.ask(doing.jobs), ())


def failures_only(emit: Emit) -> Emit:
    """`emit` for a question whose answers have been shown before."""

    def tell(event: Event) -> None:
        if isinstance(event, NodeFailed):
            emit(event)

    return tell


def standing_in_the_way(jobs: Sequence[Job], answers: Answers) -> list[str]:
    """The nodes that did not answer, would refuse, or are no longer as their job's plan read them."""
    expected = {job.node.name: job.request.expect for job in jobs}
    return [outcome.node.name for outcome in answers.outcomes if not is_willing(outcome, expected[outcome.node.name])]


def is_willing(outcome: Outcome, expect: Mapping[str, Any] | None) -> bool:
    if outcome.reply is None or outcome.reply.facts.get("refused"):
        return False
    return expect is None or expect == outcome.reply.observed


def not_begun(answers: Answers, names: Sequence[str]) -> Summary:
    """The sum of a run that `--all-or-none` ended before any node was changed."""
    refused = len(names) > len(answers.failed)
    code = decide([exit_code(answers), Exit.NODES_FAILED if refused else Exit.YES])
    note = f"no node was changed (`--all-or-none`): {fold(names)} cannot be"
    return replace(summary(answers), exit_code=code, changed=0, added=0, updated=0, removed=0, notes=(note,))


def propose(fleet: Fleet, verb: str, jobs: Sequence[Job]) -> Answers:
    """What `verb` would do on every node, told and counted."""
    answers = fleet.ask(planning(verb, jobs))
    fleet.emit(planned(answers))
    return answers


def planning(verb: str, jobs: Sequence[Job]) -> list[Job]:
    """The question what `verb` would do, for each job."""
    return [replace(job, request=replace(job.request, verb="plan", work={"of": verb})) for job in jobs]


def expecting(jobs: Sequence[Job], answers: Answers) -> list[Job]:
    """The jobs of the nodes that answered, each bound to what its plan read."""
    read = {outcome.node.name: outcome.reply.observed for outcome in answers.answered if outcome.reply}
    return [
        replace(job, request=replace(job.request, expect=read[job.node.name]))
        for job in jobs
        if job.node.name in read
    ]


def finished(doing: Doing, answers: Answers, earlier: tuple[Outcome, ...]) -> Summary:
    """The sum, with a retry file when nodes are left over."""
    total = summary(answers, earlier=earlier)
    left = [outcome.node.name for outcome in (*earlier, *answers.outcomes) if outcome.error or is_undone(outcome)]
    if left:
        return with_retry(total, doing, left)
    undo = doing.verb == "apply" and total.changed and not total.exit_code
    command = again("rollback", doing.selection) if undo else None
    return replace(total, next_command=command, next_reason="to go back" if command else None)


def is_undone(outcome: Outcome) -> bool:
    return outcome.reply is not None and outcome.reply.rolled_back


def with_retry(total: Summary, doing: Doing, left: Sequence[str]) -> Summary:
    """The sum with how to go on with the nodes that are left."""
    file = retry.write(doing.source, left)
    if file is None:
        return total
    command = again(doing.verb, replace(doing.selection, limit=f"@{file}"))
    return replace(total, next_command=command, next_reason="for the nodes that are left")


def again(verb: str, selection: Selection) -> str:
    """A command line with the same selection of nodes."""
    words = [word for path in selection.inventory for word in ("-i", path)]
    words += [word for text in selection.extra_vars for word in ("-e", text)]
    words += ["-l", selection.limit] if selection.limit else []
    words += ["--shard", selection.shard] if selection.shard else []
    return shlex.join([PROGRAM, verb, *words])
