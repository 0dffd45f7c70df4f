"""`plan`: what `apply` would change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from cni_provision.cli.options import Output, Reach, Selection, output_options, reach_options, selection_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Event, Summary


@define(
    "plan",
    "show what `apply` would change",
    ("", "all nodes of ./inventory/ or ./hosts.yaml"),
    ("-l 'web*,!web3' -v", "some nodes, with the unchanged lines of files"),
    ("--out week12.plan", "save it; `apply week12.plan` does exactly that"),
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Save the plan (mode 0600)."
)
@click.option("--exit-code", is_flag=True, help="End with 2 when something would change.")
@selection_options
@reach_options
@output_options
def command(out: Path | None, exit_code: bool, selection: Selection, reach: Reach, output: Output) -> int:
    """Ask the nodes what they have and show what `apply` would change; change nothing.

    Nodes with the same plan are shown once. `+` is added, `~` changed, `-` removed; `!` is something to know of that
    is left alone. A saved plan holds the bytes themselves: it is never rendered again, and a node that has changed in
    the meantime refuses it.
    """

    def work(emit: Emit) -> Summary:
        return show(emit, selection, reach, out=out, drift_is_no=exit_code)

    return run("plan", output, work)


def show(emit: Emit, selection: Selection, reach: Reach, *, out: Path | None, drift_is_no: bool) -> Summary:
    """Plan, save it if `out` says where, and name the next command."""
    from cni_provision.cli.run import planfile
    from cni_provision.cli.run.asking import Fleet, summary
    from cni_provision.cli.run.changing import again, expecting, propose
    from cni_provision.cli.run.jobs import applying
    from cni_provision.cli.run.planfile import PlanFile
    from cni_provision.cli.run.selection import prepared

    if out:
        planfile.check_place(out)
    shown: list[Event] = []
    emit = remembering(shown, emit)
    inventory, everything = prepared(selection, emit)
    jobs = applying(inventory, everything)
    answers = propose(Fleet(reach, emit), "apply", jobs)
    if out:
        planfile.write(out, PlanFile(inventory.source, tuple(expecting(jobs, answers)), tuple(shown)))
    total = summary(answers, drift_is_no=drift_is_no)
    if answers.interrupted or not answers.changing:
        return total
    command = f"cni-provision apply {out}" if out else again("apply", selection)
    return replace(total, next_command=command, next_reason="to make it so")


def remembering(events: list[Event], emit: Emit) -> Emit:
    """`emit` that keeps the events on their way to the view."""

    def remember(event: Event) -> None:
        events.append(event)
        emit(event)

    return remember
