"""`rollback`: back to an earlier generation."""

from __future__ import annotations

import click

from cni_provision.cli.options import (
    Consent,
    Output,
    Reach,
    Selection,
    consent_options,
    output_options,
    reach_options,
    selection_options,
)
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Summary


@define(
    "rollback",
    "bring nodes back to an earlier generation, after asking",
    ("", "to the last generation that verified"),
    ("--to 3 -l db-07", "one node, to its generation 3"),
    ("--to 0", "to what was there before the first apply"),
)
@click.option("--to", type=click.IntRange(0), metavar="N", help="The generation. Default: the last that verified.")
@consent_options
@selection_options
@reach_options
@output_options
def command(to: int | None, consent: Consent, selection: Selection, reach: Reach, output: Output) -> int:
    """Bring nodes back to an earlier generation: show what that changes, ask, do it.

    Each node keeps its last ten generations with all bytes, so nothing is copied. What it returns to becomes a new
    generation; kernel values return to what they were then. `status` shows the generation of each node.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.changing import Asked, change_all
        from cni_provision.cli.run.jobs import returning

        asked = Asked(selection, consent, reach)
        return change_all(emit, "rollback", asked, lambda inventory: returning(inventory, to))

    return run("rollback", output, work)
