"""`remove`: take everything of ours off nodes."""

from __future__ import annotations

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
@consent_options
@selection_options
@reach_options
@output_options
def command(consent: Consent, selection: Selection, reach: Reach, output: Output) -> int:
    """Take every file of this owner off nodes and set kernel values back to what they were before it.

    Files of other owners and of nobody stay. What live attachments need stays too, unless `--force` is given.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.changing import Asked, change_all
        from cni_provision.cli.run.jobs import asking

        asked = Asked(selection, consent, reach)
        return change_all(emit, "remove", asked, lambda inventory: asking(inventory, "remove"))

    return run("remove", output, work)
