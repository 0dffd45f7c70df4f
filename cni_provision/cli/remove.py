"""`remove`: take everything of ours off nodes."""

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
    "remove",
    "take everything that was provisioned off nodes, after asking",
    ("-l old-01", "one node, before it leaves the inventory"),
    ("--force", "even where containers are still attached"),
)
@click.option("--force", is_flag=True, help="Also where containers are attached to the networks.")
@consent_options
@selection_options
@reach_options
@output_options
def command(force: bool, consent: Consent, selection: Selection, reach: Reach, output: Output) -> int:
    """Take every file of this owner off nodes and set kernel values back to what they were before it.

    Files of other owners and of nobody stay. What live attachments need stays too, unless `--force` is given.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.asking import Fleet
        from cni_provision.cli.run.changing import Doing, change
        from cni_provision.cli.run.jobs import removing
        from cni_provision.cli.run.prompt import can_ask
        from cni_provision.cli.run.selection import select

        if not consent.yes:
            can_ask("remove")
        inventory = select(selection, emit)
        jobs = removing(inventory, reach.lock_timeout, force=force)
        return change(Fleet(reach, emit), Doing("remove", jobs, consent, selection, inventory.source))

    return run("remove", output, work)
