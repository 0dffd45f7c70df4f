"""From the command line to the nodes of the inventory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cni_provision.cli.run.failure import diagnostic
from cni_provision.errors import Diagnostic
from cni_provision.events import Selected

if TYPE_CHECKING:
    from cni_provision.cli.options import Selection
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.inventory.model import Inventory, Node
    from cni_provision.prepare import Prepared


def select(selection: Selection, emit: Emit) -> Inventory:
    """Read and check the inventory; raises `Mistakes`, `NeedsAnsible` or `UserError`."""
    from cni_provision import programs
    from cni_provision.inventory.load import Sources, load

    sources = Sources(
        selection.inventory, selection.extra_vars, selection.reader, selection.playbook_dir, selection.vault_id
    )
    inventory = load(sources, selection.limit, programs.run)
    if selection.shard:
        inventory = replace(inventory, nodes=shard(inventory.nodes, selection.shard))
    tell(inventory.warnings, emit)
    networks = {network.name for node in inventory.nodes for network in node.declarations.networks}
    emit(Selected(len(inventory.nodes), len(networks), inventory.digest, inventory.source))
    return inventory


def shard(nodes: Sequence[Node], part: str) -> tuple[Node, ...]:
    """The nodes of part `i/n`: by a hash of the name, so that a node stays in its part while others come and go."""
    index, count = map(int, part.split("/"))
    return tuple(node for node in nodes if zlib.crc32(node.name.encode()) % count == index - 1)


def prepared(selection: Selection, emit: Emit) -> tuple[Inventory, Prepared]:
    """The inventory, and what each node should have: conflists rendered, executables collected."""
    from cni_provision.prepare import prepare

    inventory = select(selection, emit)
    found = prepare(inventory)
    tell(found.warnings, emit)
    return inventory, found


def checked(selection: Selection, emit: Emit) -> Inventory:
    """The inventory, with the same mistakes found as by `prepared`, and no executable collected."""
    from cni_provision.prepare import check

    inventory = select(selection, emit)
    tell(check(inventory), emit)
    return inventory


def tell(warnings: Iterable[Diagnostic], emit: Emit) -> None:
    for warning in warnings:
        emit(diagnostic(warning))
