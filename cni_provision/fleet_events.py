"""What an outcome means to those who watch: one pure function from `Outcome` to events."""

from __future__ import annotations

from collections.abc import Iterator

from cni_provision import events
from cni_provision.errors import NodeError
from cni_provision.events import Event
from cni_provision.fleet_job import Job, Outcome
from cni_provision.node.protocol import Reply
from cni_provision.plan import Change, File, Live, State


def told(job: Job, outcome: Outcome) -> tuple[Event, ...]:
    """The events of one node, in the order in which they are shown."""
    if outcome.error:
        return (failure(job.node.name, outcome.error, outcome.seconds),)
    assert outcome.reply
    return tuple(_answered(job, outcome.reply, outcome.seconds))


def failure(node: str, error: NodeError, seconds: float) -> Event:
    """A node that could not be served."""
    return events.NodeFailed(node, error.reason, error.message, error.hint, round(seconds, 3) or None, error.detail)


def _answered(job: Job, reply: Reply, seconds: float) -> Iterator[Event]:
    node, seconds = job.node.name, round(seconds, 3)
    if not job.changes_the_node:
        yield events.Observed(node, reply.generation, seconds)
    for change in reply.changes:
        yield _change(job, reply, change)
    for found in reply.findings:
        yield events.Finding(node, found.code, found.message, found.hint)
    for outcome in reply.outcomes:
        yield events.CheckResult(node, outcome.check, outcome.outcome, outcome.message, outcome.network)
    if job.changes_the_node:
        done = len(reply.changes) if reply.applied else 0
        # None leaves a field out of the JSON
        undone, incomplete = reply.rolled_back or None, reply.incomplete or None
        yield events.ApplyDone(node, reply.generation, done, seconds, undone, incomplete)


def _change(job: Job, reply: Reply, change: Change) -> Event:
    node, path = job.node.name, path_of(change)
    if reply.applied:
        return events.ChangeApplied(node, path, change.sign)
    secret = not {change.key, path}.isdisjoint(job.request.secret)
    return events.PlannedChange(
        node,
        path,
        change.sign,
        (change.after or change.before or Live("file", "", "")).kind,
        before=None if secret else described(change.before),
        after=None if secret else described(change.after),
        diff=reply.diffs.get(change.key),
    )


def path_of(change: Change) -> str:
    """The path of a file or directory; the key of a live value (`sysctl:net.ipv4.ip_forward`)."""
    return change.key.removeprefix("file:")


def described(state: State | None) -> str | None:
    """A live value's text; a file's mode, owner where it is not root, and the start of its digest."""
    if not isinstance(state, File):
        return state.value if state else None
    owner = f" {state.uid}:{state.gid}" if state.uid or state.gid else ""
    return f"{state.mode:04o}{owner} {state.content}"
