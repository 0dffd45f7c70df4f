"""`status`: what nodes have, by their own record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cni_provision.cli.options import Output, Reach, Selection, output_options, reach_options, selection_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import NodeStatus, Summary

if TYPE_CHECKING:
    from cni_provision.fleet import Outcome


@define(
    "status",
    "show what nodes have: generation, by whom, drift",
    ("", "all nodes"),
    ("-v", "with what the warm servers counted"),
    ("--json | jq 'select(.event == \"node_status\")'", "with every kept generation"),
)
@selection_options
@reach_options
@output_options
def command(selection: Selection, reach: Reach, output: Output) -> int:
    """Show what nodes have by their own record: which generation, by whom, when, how far they drifted from it, and
    which build of the warm plugin server runs.

    The inventory only names the nodes here: `diff` compares with what it declares.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.asking import Fleet, summary
        from cni_provision.cli.run.jobs import asking
        from cni_provision.cli.run.selection import select

        inventory = select(selection, emit)
        answers = Fleet(reach, emit).ask(asking(inventory, "status"))
        for outcome in answers.answered:
            emit(status_of(outcome))
        return summary(answers)

    return run("status", output, work)


def status_of(outcome: Outcome) -> NodeStatus:
    """A node's record as an event; a node that we never changed has generation 0 and nothing else."""
    assert outcome.reply
    facts = outcome.reply.facts
    known = bool(facts.get("generation"))
    return NodeStatus(
        node=outcome.node.name,
        generation=outcome.reply.generation,
        by=facts.get("by") or None,
        at=(facts.get("time") or "").replace("T", " ").replace("+00:00", "Z") or None,
        inventory=facts.get("inventory") or None,
        drift=facts.get("drift") if known else None,
        incomplete=outcome.reply.incomplete or None,
        server=server_of(facts.get("server", {})),
        facts=facts,
    )


def server_of(told: Mapping[str, Any]) -> str | None:
    """The build of the warm server that runs; None where none does."""
    return str(told.get("build", "starting")) if told.get("runs") else None
