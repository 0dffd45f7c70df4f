"""One node's part of a run: what it is asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cni_provision.errors import NodeError, NotStarted
from cni_provision.inventory.model import Node
from cni_provision.node.protocol import Reply, Request

CHANGING = ("apply", "rollback", "remove")


class Blobs(Protocol):
    """Bytes by digest (`cni_provision.artifact.Blobs`)."""

    def compressed(self, digest: str) -> bytes:
        """zlib data of the blob with this lower-case hex SHA-256; raises `KeyError`."""


@dataclass(frozen=True)
class Job:
    """`request` for `node`; `blobs` are what it may ask for, None where it cannot need any."""

    node: Node
    request: Request
    blobs: Blobs | None = None

    @property
    def changes_the_node(self) -> bool:
        """Whether an interruption must wait for the node's answer."""
        return self.request.verb in CHANGING


@dataclass(frozen=True)
class Outcome:
    """Exactly one of `reply` and `error` is set; `seconds` from the start of the session, 0.0 without one."""

    node: Node
    reply: Reply | None = None
    error: NodeError | None = None
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it counts for `--max-fail`: an error, or a change that was undone; not being started does not."""
        if self.error:
            return not isinstance(self.error, NotStarted)
        return self.reply is not None and self.reply.rolled_back
