"""`apply`: make it so."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cni_provision.cli.options import (
    Consent,
    Output,
    Reach,
    Selection,
    consent_options,
    family,
    output_options,
    reach_options,
    selection_options,
)
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import (
    ApplyDone,
    ChangeApplied,
    DiagnosticFound,
    Event,
    Observed,
    PlannedChange,
    Summary,
)

if TYPE_CHECKING:
    from cni_provision.cli.run.changing import Asked

PARTS = ("plugins", "conflists", "kernel", "verify")


@dataclass(frozen=True)
class How:
    """What of the declarations, and what when a check fails."""

    only: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    no_verify: bool = False
    no_rollback: bool = False


how_options = family(
    How,
    "how",
    click.option("--only", multiple=True, type=click.Choice(PARTS), help="Only these parts; may be repeated."),
    click.option("--adopt", multiple=True, metavar="NAME", help="Take over this file that is there already."),
    click.option("--no-verify", is_flag=True, help="Do not verify afterwards."),
    click.option("--no-rollback", is_flag=True, help="Keep a node as it is when it does not verify."),
)


@define(
    "apply",
    "make nodes what is declared, after asking",
    ("", "show the plan, ask, do it, verify"),
    ("--yes --serial 10% --max-fail 2", "roll out in batches and stop at the third failure"),
    ("week12.plan", "exactly what `plan --out week12.plan` saved"),
)
@click.argument("plan", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@consent_options
@click.option("--check", is_flag=True, help="The same as `plan`.")
@how_options
@selection_options
@reach_options
@output_options
def command(
    plan: Path | None,
    check: bool,
    consent: Consent,
    how: How,
    selection: Selection,
    reach: Reach,
    output: Output,
) -> int:
    """Make nodes what is declared: show the plan, ask, do exactly that, and verify with traffic.

    A node changes as a whole or not at all. Where it is no longer as the plan read it, it is refused alone. A node
    that does not verify goes back to what it was. Nodes that fail are written to INVENTORY.retry for `--limit`. With
    PLAN, a file of `plan --out`, the inventory is not read.
    """
    if check:
        from cni_provision.cli.plan import show

        return run("plan", output, lambda emit: show(emit, selection, reach, out=None, drift_is_no=False))
    from cni_provision.cli.run.changing import Asked

    asked = Asked(selection, consent, reach)
    if plan:
        return run("apply", output, lambda emit: apply_file(emit, plan, asked))
    return run("apply", output, lambda emit: apply_inventory(emit, how, asked))


def apply_inventory(emit: Emit, how: How, asked: Asked) -> Summary:
    from cni_provision.cli.run.asking import Fleet
    from cni_provision.cli.run.changing import change
    from cni_provision.cli.run.jobs import Applying, applying
    from cni_provision.cli.run.prompt import can_ask
    from cni_provision.cli.run.selection import prepared

    if not asked.consent.yes:
        can_ask("apply")
    inventory, everything = prepared(asked.selection, emit)
    manner = Applying(how.only, how.adopt, not how.no_verify, not how.no_rollback)
    jobs = applying(inventory, everything, manner)
    watched = Adopting(emit, [adopted(name, job.request.conf_dir) for job in jobs for name in how.adopt])
    total = change(Fleet(asked.reach, watched.emit), asked.doing("apply", jobs, inventory.source))
    for name in how.adopt if watched.answered else ():
        if watched.met.isdisjoint(adopted(name, job.request.conf_dir) for job in jobs):
            message = f"`--adopt {name}` matched no file that changes on any node"
            emit(
                DiagnosticFound("warning", message, hint="names are looked up in `conf_dir`; write other paths whole")
            )
    return total


def adopted(name: str, conf_dir: str) -> str:
    """The pattern of a path."""
    return name if name.startswith("/") else f"{conf_dir}/{name}"


class Adopting:
    """Hands events on, and notes which patterns met a file that was there before."""

    def __init__(self, emit: Emit, patterns: Sequence[str]) -> None:
        self._emit = emit
        self._patterns = frozenset(patterns)
        self.met: set[str] = set()
        self.answered = False

    def emit(self, event: Event) -> None:
        self.answered |= isinstance(event, Observed | ApplyDone)
        if isinstance(event, PlannedChange | ChangeApplied) and event.sign != "+":
            self.met |= {pattern for pattern in self._patterns if fnmatch.fnmatchcase(event.path, pattern)}
        self._emit(event)


def apply_file(emit: Emit, file: Path, asked: Asked) -> Summary:
    """Show what was saved, ask, and send it."""
    from cni_provision.cli.run import planfile
    from cni_provision.cli.run.asking import Fleet
    from cni_provision.cli.run.changing import send
    from cni_provision.cli.run.prompt import can_ask, confirm
    from cni_provision.cli.view.table import count

    if asked.selection.limit or asked.selection.extra_vars or asked.selection.shard:
        hint = "leave out `--limit`, `--shard` and `--extra-vars`"
        raise click.UsageError(f"a plan file has its nodes and values in it: {hint}")
    if not asked.consent.yes:
        can_ask("apply")
    plan = planfile.read(file)
    for event in plan.events:
        emit(event)
    if not asked.consent.yes:
        confirm(f"Apply on {count(plan.changing, 'node')}?")
    return send(Fleet(asked.reach, emit), asked.doing("apply", plan.jobs, plan.source))
