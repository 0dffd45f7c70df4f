"""A node's reply as an Ansible result: `changed`, `diff`, and what is structured; or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cni_provision.cli.view import unified
from cni_provision.cli.view.paint import Paint
from cni_provision.errors import CniProvisionError, Diagnostic, NodeError, UserError
from cni_provision.events import CheckResult, Finding, PlannedChange
from cni_provision.fleet_events import told
from cni_provision.fleet_job import Job, Outcome
from cni_provision.node.protocol import NodeFinding, Reply

Json = dict[str, Any]
OUTSIDE_HINT = "`cni-provision` reads inventories only and would undo it: move it to `group_vars` or `host_vars`"


def result(job: Job, reply: Reply, outside: Mapping[str, str], *, diff: bool) -> Json:
    """What Ansible shows and registers; `outside` are variables that do not stand in the inventory, and where."""
    findings = (*reply.findings, *(_outside(name, where) for name, where in outside.items()))
    # told as planned, because what was applied is told by its path alone
    events = told(job, Outcome(job.node, replace(reply, applied=False, findings=findings)))
    changes = [event for event in events if isinstance(event, PlannedChange)]
    known: Json = {
        "generation": reply.generation,
        "changes": [_plain(event, "path", "sign", "kind", "before", "after") for event in changes],
        "findings": [_plain(event, "code", "message", "hint") for event in events if isinstance(event, Finding)],
        "checks": [
            _plain(event, "check", "outcome", "message", "network")
            for event in events
            if isinstance(event, CheckResult)
        ],
        "rolled_back": reply.rolled_back,
    }
    facts = {**reply.facts, "generation": reply.generation} if job.request.verb == "plugins" else known
    complaints = list(_complaints(job, reply))
    changed = _may_change(job) and bool(changes) and not reply.rolled_back
    shown: Json = {"diff": [{"prepared": _text(unified.text(changes, Paint()))}]} if diff and changes else {}
    failed: Json = {"failed": True, "msg": "; ".join(complaints)} if complaints else {}
    warnings: Json = {"warnings": [_sentence(one) for one in known["findings"]]} if findings else {}
    return {"changed": changed, **known, "ansible_facts": {"cni_provision": facts}, **shown, **warnings, **failed}


def checked(warnings: Iterable[Diagnostic]) -> Json:
    """A result for declarations that are right."""
    return {"changed": False, "warnings": [_mistake(warning) for warning in warnings]}


def failure(error: CniProvisionError) -> Json:
    """A result for what was raised: every mistake with its place, or what a node said."""
    if isinstance(error, UserError):
        return {"failed": True, "msg": "\n".join(map(_mistake, error.diagnostics))}
    reason: Json = {"reason": error.reason} if isinstance(error, NodeError) else {}
    return {"failed": True, "msg": _hinted(error.message, error.hint), **reason}


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _may_change(job: Job) -> bool:
    return job.changes_the_node or job.request.verb == "plan"


def _complaints(job: Job, reply: Reply) -> Iterator[str]:
    """Why a task failed although the node answered."""
    yield from map(str, reply.facts.get("refused", ()))
    for outcome in reply.outcomes:
        if outcome.outcome == "fail":
            on = f" (network `{outcome.network}`)" if outcome.network else ""
            yield f"{outcome.check}: {outcome.message}{on}"
    if reply.rolled_back:
        yield "the node went back to what it was"
    elif reply.incomplete and reply.applied:
        yield f"generation {reply.generation} is incomplete"


def _outside(name: str, where: str) -> NodeFinding:
    return NodeFinding("outside", f"`{name}` does not stand in the inventory but in {where}", OUTSIDE_HINT)


def _plain(event: object, *names: str) -> Json:
    return {name: value for name in names if (value := getattr(event, name)) is not None}


def _sentence(finding: Json) -> str:
    return _hinted(finding["message"], finding.get("hint"))


def _hinted(message: str, hint: str | None) -> str:
    return f"{message}; hint: {hint}" if hint else message


def _mistake(found: Diagnostic) -> str:
    """`hosts.yaml:6:9: unknown key …; hint: …`; the node stands for a place that Ansible does not know."""
    where = str(found.place) if found.place and found.place.file else None
    named = ": ".join(part for part in (where, found.node, found.message) if part)
    also = "".join(f"; {place}: {note}" for place, note in found.related)
    return _hinted(named + also, found.hint)
