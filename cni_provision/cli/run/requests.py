"""What a run asks of each node, as the protocol's `Request`."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING

from cni_provision.desired import Desired, request
from cni_provision.node.protocol import Request

if TYPE_CHECKING:
    from cni_provision.inventory.model import Inventory, Node


@dataclass(frozen=True)
class Origin:
    """Who asks, when, and by which inventory: what a node's record says of a run."""

    by: str
    time: str
    inventory: str
    source: str
    salt: str = ""


def origin(inventory: Inventory) -> Origin:
    """This user, on this machine, now."""
    return Origin(f"{user()}@{socket.gethostname()}", now(), inventory.digest, inventory.source, token_hex(16))


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def about(node: Node, verb: str, run: Origin) -> Request:
    """A question about what a node has; nothing is declared in it."""
    declared, runtime = node.declarations, node.declarations.runtime
    return Request(
        verb=verb,
        owner=declared.owner,
        by=run.by,
        inventory=run.inventory,
        source=run.source,
        time=run.time,
        salt=run.salt,
        conf_dir=runtime.conf_dir,
        bin_dir=runtime.bin_dir,
        cache_dir=runtime.cache_dir,
    )


def declaring(goal: Desired, verb: str, run: Origin) -> Request:
    """A question with everything that the node should have."""
    asked = request(goal, verb, by=run.by, inventory=run.inventory, source=run.source, time=run.time)
    return replace(asked, salt=run.salt)
