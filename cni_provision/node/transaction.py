"""One transaction: stage everything, commit by one rename, then step by step; a step that fails turns it around.

Recovery of what a dead run left uses the same pieces: what was only staged is removed, what was committed is
finished, what was turned around is undone.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from cni_provision.node import files, generation, live, paths, steps
from cni_provision.node.failure import Failure, of_system
from cni_provision.node.generation import Generation
from cni_provision.node.journal import BACKWARD, FORWARD, STAGE, Journal, unfinished
from cni_provision.node.protocol import NodeFinding, Reload
from cni_provision.plan import Change, Live, group

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """What has begun to be visible is finished, whatever the controller or a terminal says."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(record: Generation, changes: Collection[Change]) -> None:
    """Carry out `changes` and leave `record`; raises `Failure` with the old state restored."""
    journal = Journal(record, tuple(changes), record.due)
    try:
        journal = _with_attributes(journal)
        _stage(journal)
    except (OSError, Failure) as error:
        _abandon(journal)
        raise _failed(error, "nothing was changed") from error
    with uninterrupted():
        journal = journal.turn(FORWARD)
        try:
            journal = _carry_out(journal)
        except (OSError, Failure) as error:
            left = _turn_around(journal, error)
            raise _failed(error, "; ".join(["what had begun was undone", *map(_words, left)])) from error
        _close(journal)


def _with_attributes(journal: Journal) -> Journal:
    """Keep what will be replaced; a file that comes back has the attributes with which it went."""
    kept = {step.key: steps.keep(step) for step in journal.steps if step.before}
    files.sync_directory(paths.BLOBS)
    attributes = {**journal.record.attributes, **kept}
    steps_only = {step.key: attributes.get(step.key, {}) for step in journal.steps}
    record = replace(journal.record, attributes={key: each for key, each in attributes.items() if each})
    return replace(journal, record=record, attributes=steps_only)


def _failed(error: Exception, outcome: str) -> Failure:
    failure = of_system(error) if isinstance(error, OSError) else error
    assert isinstance(failure, Failure)
    return Failure(f"{failure.message}; {outcome}", reason=failure.reason, hint=failure.hint)


def _stage(journal: Journal) -> None:
    """Everything that needs space or can be refused: journal, directories, staged files."""
    journal.write()
    for step in journal.steps:
        steps.stage(step, journal.attributes.get(step.key, {}))
    for step in journal.steps:
        steps.seal(step)
    steps.sync(journal.steps)


def _carry_out(journal: Journal) -> Journal:
    _perform(journal.before_reloads)
    _settle(journal)
    for name in journal.due:
        reload(journal.record.reloads, name)
        journal = journal.strike(name)
    _perform(journal.after_reloads)
    generation.record(replace(journal.record, due=journal.due))
    return journal


def _perform(changes: Iterable[Change]) -> None:
    for batch in _groups(changes):
        for step in batch:
            steps.perform(step)
        steps.sync(batch)


def _settle(journal: Journal) -> None:
    """Set again what is ours and was moved by another kernel value of this run: forwarding sets more than itself."""
    stepped = {step.key: step.kind for step in journal.steps}
    ours = (journal.record.states.get(key) for key in journal.record.owned if key not in stepped)
    for state in ours if "sysctl" in stepped.values() else ():
        if isinstance(state, Live) and state.kind == "sysctl" and live.read(state) not in (None, state):
            live.write(state)


def _groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    return (list(members) for _, members in itertools.groupby(changes, key=group))


def reload(known: Iterable[Reload], name: str) -> None:
    """Run a reload; systemd's are left out where it does not run. Raises `Failure`."""
    for each in known:
        if each.name == name and (each.argv[0] != "systemctl" or live.has_systemd()):
            live.run(each.argv, f"reload `{name}` failed", f"see why `{' '.join(each.argv)}` fails on the node")


def _close(journal: Journal) -> None:
    """Tidy up; whatever of it fails, the next run's recovery finds everything done."""
    with contextlib.suppress(OSError, Failure):
        journal.close()
        generation.forget_old()


def _abandon(journal: Journal) -> None:
    """Before the commit point: remove what was staged, and the directories made for it."""
    with contextlib.suppress(OSError):
        steps.unstage(journal.steps)
        for step in reversed(journal.steps):
            if step.before is None and steps.as_directory(step.after):
                files.remove_directory(step.key[len("file:") :])
        journal.close()
        files.remove(paths.staging(journal.path))


def _turn_around(journal: Journal, cause: Exception) -> list[str]:
    try:
        return _undo(journal.turn(BACKWARD))
    except (OSError, Failure) as error:
        undoing = _failed(error, "the next run finishes undoing it")
        first = _failed(cause, "and undoing it failed as well")
        raise Failure(f"{first.message}: {undoing.message}", hint=first.hint or undoing.hint) from error


def _undo(journal: Journal) -> list[str]:
    """Restore what was; returns the paths that somebody else changed meanwhile and that were left."""
    steps.unstage(journal.steps)
    generation.forget(journal.record.number)
    left, undone = [], []
    for step in reversed(journal.steps):
        stands = steps.stands(step.inverse, rebooted=journal.rebooted)
        if stands == "before":
            steps.perform_afresh(step.inverse, journal.attributes.get(step.key, {}))
            undone.append(step)
        elif stands == "elsewhere":
            left.append(step.key)
    steps.sync(journal.steps)
    _reload_undone(journal, undone)
    _mark_incomplete(journal, left)
    journal.close()
    return left


def _reload_undone(journal: Journal, undone: Collection[Change]) -> None:
    """Services see the old files again; a reload that fails stays due in the generation that is current again."""
    touched = {step.key[len("file:") :] for step in undone}
    names = [each.name for each in journal.record.reloads if touched & set(each.paths)]
    due = _reload_all(journal.record.reloads, names)
    previous = generation.history().of(journal.record.owner)
    if due and previous.number:
        generation.record(replace(previous, due=tuple({*previous.due, *due})))


def _reload_all(known: Iterable[Reload], names: Iterable[str]) -> tuple[str, ...]:
    """Run reloads; returns the names of those that failed and stay due."""
    failed = []
    for name in names:
        try:
            reload(known, name)
        except Failure:
            failed.append(name)
    return tuple(failed)


def recover() -> list[NodeFinding]:
    """Bring what a dead run left to its old or new state; raises `Failure` when the disk does not allow it."""
    found: list[NodeFinding] = []
    with uninterrupted():
        for journal in unfinished():
            try:
                found += _recover(journal)
            except (OSError, Failure) as error:
                raise _failed(error, "an interrupted run could not be recovered") from error
    return found


def _recover(journal: Journal) -> list[NodeFinding]:
    if journal.direction == STAGE:
        _abandon(journal)
        return [NodeFinding("recovered", "an interrupted run had changed nothing; its remains were removed")]
    if journal.direction == FORWARD:
        try:
            return _recovered("an interrupted run was finished", _finish(journal))
        except (OSError, Failure) as error:
            cause = _failed(error, "an interrupted run was undone, because it could not be finished").message
            journal = journal.turn(BACKWARD)
    else:
        cause = "an interrupted run was undone"
    return _recovered(cause, _undo(journal))


def _recovered(message: str, left: Iterable[str]) -> list[NodeFinding]:
    return [NodeFinding("recovered", message), *map(_left, left)]


def _left(key: str) -> NodeFinding:
    return NodeFinding("left", _words(key), "apply again")


def _words(key: str) -> str:
    return f"`{key.partition(':')[2]}` was changed by somebody else meanwhile and was left"


def _finish(journal: Journal) -> list[str]:
    """Go forward from the commit point; returns what somebody else changed meanwhile and that was left."""
    left = _go_forward(journal, journal.before_reloads)
    _settle(journal)
    due = _reload_all(journal.record.reloads, journal.due)
    left += _go_forward(journal, journal.after_reloads)
    generation.record(replace(journal.record, due=due, incomplete=bool(left)))
    steps.unstage(journal.steps)
    _close(journal)
    return left


def _go_forward(journal: Journal, changes: Iterable[Change]) -> list[str]:
    left = []
    for batch in _groups(changes):
        for step in batch:
            stands = steps.stands(step, rebooted=journal.rebooted)
            if stands == "before":
                steps.perform_afresh(step, journal.attributes.get(step.key, {}))
            elif stands == "elsewhere":
                left.append(step.key)
        steps.sync(batch)
    return left


def _mark_incomplete(journal: Journal, left: Collection[str]) -> None:
    previous = generation.history().of(journal.record.owner)
    if left and previous.number:
        generation.record(replace(previous, incomplete=True))
