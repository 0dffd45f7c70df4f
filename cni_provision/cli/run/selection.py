"""From the command line to the nodes of the inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cni_provision.cli.run.failure import diagnostic
from cni_provision.errors import NeedsAnsible
from cni_provision.events import Selected

if TYPE_CHECKING:
    from cni_provision.cli.options import Selection
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.inventory.model import Inventory
    from cni_provision.prepare import Prepared


def select(selection: Selection, emit: Emit) -> Inventory:
    """Read and check the inventory; raises `Mistakes`, `NeedsAnsible` or `UserError`."""
    from cni_provision.inventory.load import Sources, load

    if selection.reader == "ansible":
        raise NeedsAnsible("`--reader ansible` is not built yet", hint="leave it out, or write what `own` can read")
    inventory = load(Sources(selection.paths, selection.extra_vars, selection.reader), selection.limit)
    for warning in inventory.warnings:
        emit(diagnostic(warning))
    networks = {network.name for node in inventory.nodes for network in node.declarations.networks}
    emit(Selected(len(inventory.nodes), len(networks), inventory.digest, inventory.source))
    return inventory


def prepared(selection: Selection, emit: Emit) -> tuple[Inventory, Prepared]:
    """The inventory, and what each node should have: conflists rendered, executables collected."""
    from cni_provision.prepare import prepare

    inventory = select(selection, emit)
    return inventory, prepare(inventory)
