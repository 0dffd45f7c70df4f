"""The verbs that decide and do: plan, apply, rollback, remove."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Optional

from cni_provision.node import blobs, generation, lock, objections, observe, paths, proof, steps, transaction
from cni_provision.node.diff import diffs
from cni_provision.node.failure import Failure
from cni_provision.node.generation import Generation, History
from cni_provision.node.journal import unfinished
from cni_provision.node.proposal import Proposal, propose
from cni_provision.node.protocol import CheckOutcome, NodeFinding, Reload, Reply, Request
from cni_provision.node.recover import compile_plugins
from cni_provision.node.talk import Talk
from cni_provision.plan import digest_behind, same


def plan(request: Request) -> Reply:
    """What the verb would do; nothing is changed. `facts["refused"]`: why it would not be done as it stands."""
    history = generation.history()
    proposal = propose(request, history)
    refused = tuple(objections.refusals(request, proposal))
    pending = (
        [NodeFinding("unfinished", "a run was interrupted here; the next apply recovers first")]
        if unfinished()
        else []
    )
    findings = (*pending, *refused, *objections.findings(request, proposal))
    reply = _described(request, proposal, history.number, findings)
    return replace(reply, facts={**observe.facts(), "refused": [each.message for each in refused]})


def _described(request: Request, proposal: Proposal, number: int, findings: tuple[NodeFinding, ...]) -> Reply:
    return Reply(
        changes=proposal.changes,
        diffs=diffs(proposal.changes, request, {*proposal.goal.secret, *proposal.current.secret}),
        findings=findings,
        generation=number,
        incomplete=proposal.current.incomplete,
        observed={"generation": number, "states": proposal.fingerprints},
        facts=observe.facts(),
    )


def apply(request: Request, talk: Talk) -> Reply:
    """Do it, in one transaction under the node's lock; verify, and go back when that fails."""
    with lock.held(request.by, _time(request), request.lock_timeout):
        recovered = transaction.recover()
        history = generation.history()
        reply = _apply(request, talk, history)
        record_python()
        compile_plugins()
        reply = replace(reply, findings=(*recovered, *reply.findings))
        asked = request if request.verb != "rollback" else _proof_of_return(request)
        return _verified(asked, reply, history) if asked.verify else reply


def _proof_of_return(request: Request) -> Request:
    """What a rollback must prove: what the generation that it returned to was asked, unless told not to."""
    recorded = generation.history().of(request.owner).verify
    return request if request.work.get("unverified") else replace(request, verify=proof.with_texts(recorded))


def _apply(request: Request, talk: Talk, history: History) -> Reply:
    proposal = propose(request, history)
    _compare(request.expect, proposal, history.number)
    objections.refuse(list(objections.refusals(request, proposal)))
    findings = tuple(objections.findings(request, proposal))
    reply = _described(request, proposal, history.number, findings)
    if proposal.settled and not proposal.current.due:
        return replace(reply, applied=True)
    _gather(request, proposal, talk, reply)
    record = _record(request, proposal, history.number)
    transaction.run(record, proposal.changes)
    return replace(reply, applied=True, generation=record.number, incomplete=record.incomplete)


def _compare(expect: Optional[dict[str, Any]], proposal: Proposal, number: int) -> None:
    """Raises `Failure` (conflict) naming what moved since the plan was made."""
    if expect is None:
        return
    hint = "make a new plan"
    if expect.get("generation") not in (None, number):
        message = f"the node is at generation {number}, the plan was made at {expect['generation']}"
        raise Failure(message, reason="conflict", hint=hint)
    then, now = expect.get("states", {}), proposal.fingerprints
    moved = [key.partition(":")[2] for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if moved:
        more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
        raise Failure(f"`{moved[0]}`{more} changed since the plan was made", reason="conflict", hint=hint)


def _gather(request: Request, proposal: Proposal, talk: Talk, reply: Reply) -> None:
    """Have all bytes on this node: from here, from the request, or by asking for them."""
    need = sorted(_lacking(request, proposal))
    if need:
        talk.answer(Reply(need=tuple(need), changes=reply.changes, generation=reply.generation))
        talk.receive_blobs(need)


def _lacking(request: Request, proposal: Proposal) -> set[str]:
    wanted = (digest_behind(change.after) for change in proposal.changes)
    return {digest for digest in wanted if digest and not _at_hand(digest, request, proposal)}


def _at_hand(digest: str, request: Request, proposal: Proposal) -> bool:
    if blobs.has(digest):
        return True
    if digest in request.texts:
        blobs.add(digest, iter([request.texts[digest].encode()]))
        return True
    for state in proposal.observed.values():
        file = steps.as_file(state)
        if file and file.digest == digest:
            blobs.keep(file.path, digest)
            return True
    return False


def _record(request: Request, proposal: Proposal, number: int) -> Generation:
    """What will be true afterwards; bytes that become ours without a change are kept too."""
    current, goal = proposal.current, proposal.goal
    image = proposal.after_image
    for key, state in image.items():
        file = steps.as_file(state)
        if file and key not in current.states and same(proposal.observed.get(key), file):
            blobs.keep(file.path, file.digest)
    secret = {*goal.secret, *current.secret}
    return Generation(
        number=number + 1,
        parent=number,
        owner=request.owner,
        by=request.by,
        inventory=request.inventory,
        source=request.source,
        time=_time(request),
        states={**current.states, **image},
        owned=proposal.owned,
        found=proposal.found,
        attributes=current.attributes,
        secret=tuple(sorted(secret)),
        reloads=_reloads(proposal),
        due=_due(proposal),
        incomplete=proposal.incomplete,
        rollback_of=goal.rollback_of,
        verify=goal.verify if goal.rollback_of is not None else proof.without_texts(request.verify),
    )


def _reloads(proposal: Proposal) -> tuple[Reload, ...]:
    """The declared ones, and earlier ones for what may still return."""
    named = {each.name: each for each in (*proposal.current.reloads, *proposal.goal.reloads)}
    return tuple(named.values())


def _due(proposal: Proposal) -> tuple[str, ...]:
    changed = {change.key.partition(":")[2] for change in proposal.changes if change.key.startswith("file:")}
    names = [each.name for each in _reloads(proposal) if changed & set(each.paths)]
    return tuple(dict.fromkeys([*proposal.current.due, *names]))


def _verified(request: Request, reply: Reply, before: History) -> Reply:
    """Verify what is there now; when that fails, go back to the generation before this run, unless told otherwise."""
    outcomes = outcomes_of(request)
    failed = any(outcome.outcome == "fail" for outcome in outcomes)
    current = generation.history().of(request.owner)
    if current.number and current.verified != (not failed):
        generation.record(replace(current, verified=not failed))
    reply = replace(reply, outcomes=outcomes)
    made = reply.generation != before.number
    return (
        _go_back(request, reply, before.of(request.owner))
        if failed and made and request.rollback_on_failure
        else reply
    )


def _go_back(request: Request, reply: Reply, then: Generation) -> Reply:
    back = replace(request, verb="rollback", generation=then.number, only=(), adopt=(), prune=())
    history = generation.history()
    proposal = propose(back, history)
    record = replace(_record(back, proposal, history.number), verified=then.verified)
    transaction.run(record, proposal.changes)
    return replace(reply, rolled_back=True, generation=record.number)


def outcomes_of(request: Request) -> tuple[CheckOutcome, ...]:
    """The outcomes of what the request wants verified; a check that breaks is a check that failed."""
    from cni_provision.node.verify import verify

    try:
        return tuple(verify(request.verify or {}))
    except Exception as error:
        return (CheckOutcome("verify", "fail", f"{type(error).__name__}: {error}"),)


def _time(request: Request) -> str:
    return request.time or datetime.now(timezone.utc).isoformat(timespec="seconds")


def record_python() -> None:
    """Leave the interpreter that served us as a link, for plugins and for the next run."""
    found = os.path.realpath(sys.executable)
    if os.path.realpath(paths.PYTHON) != found:
        temporary = paths.staging(paths.PYTHON)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(found, temporary)
        os.rename(temporary, paths.PYTHON)
