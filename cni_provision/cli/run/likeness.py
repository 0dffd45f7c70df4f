"""A node's networks and plugins on this machine: made of its inventory in a folder that goes again."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cni_provision.cli.run.scratch import scratch
from cni_provision.errors import UserError
from cni_provision.inventory.hiding import Hiding

if TYPE_CHECKING:
    from cni_provision.artifact import Blobs
    from cni_provision.cli.run.attaching import Where
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.desired import Desired
    from cni_provision.inventory.model import Inventory, Node


@dataclass(frozen=True)
class Likeness:
    """Where the files of the node are."""

    conf_dir: str
    bin_dir: str
    hiding: Hiding


@contextmanager
def likeness(where: Where, emit: Emit) -> Iterator[Likeness]:
    """The conflists of `where.node`, and its executables for this machine's processor. Raises `UserError`.

    Every other node is read, as the inventory's rules need it, but not rendered.
    """
    from cni_provision.cli.options import Selection
    from cni_provision.cli.run.selection import select, tell
    from cni_provision.prepare import prepare

    inventory = select(
        Selection(
            where.inventory,
            where.extra_vars,
            reader=where.reader,
            playbook_dir=where.playbook_dir,
            vault_id=where.vault_id,
        ),
        emit,
    )
    prepared = prepare(replace(inventory, nodes=(node_of(inventory, where.node or ""),)))
    tell(prepared.warnings, emit)
    with scratch("exec") as folder:
        yield written(prepared.desired[0], prepared.blobs, folder, inventory.hiding)


def node_of(inventory: Inventory, name: str) -> Node:
    """Raises `UserError` for a name that no node has."""
    nodes = {node.name: node for node in inventory.nodes}
    if name in nodes:
        return nodes[name]
    near = difflib.get_close_matches(name, nodes, n=1)
    hint = f"did you mean `{near[0]}`" if near else "`cni-provision plan` lists the nodes"
    raise UserError(f"no node `{name}` in {inventory.source}", hint=hint)


def written(goal: Desired, blobs: Blobs, folder: Path, hiding: Hiding) -> Likeness:
    """The node's files below `folder`; what else it gets (sysctls, units) stays away from this machine."""
    from cni_provision.node.observe import architecture
    from cni_provision.plan import File

    states = {**goal.states, **goal.variants.get(architecture(), {})}
    made = Likeness(str(folder / "net.d"), str(folder / "bin"), hiding)
    for path in (made.conf_dir, made.bin_dir):
        os.mkdir(path)
    for state in states.values():
        if isinstance(state, File) and state.kind in ("conflist", "plugin"):
            target = Path(made.conf_dir if state.kind == "conflist" else made.bin_dir, os.path.basename(state.path))
            target.touch(mode=state.mode)
            target.write_bytes(blobs.get(state.digest))
            target.chmod(state.mode)
    return made
