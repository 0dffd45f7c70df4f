"""The seam between the fleet and a node: open a session that runs one program as root, then converse in bytes.

A transport is one module in this folder with a class `Transport` that is made from `Settings`;
`connection.kind` is the module's name (`cni_provision.transport.load`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cni_provision.inventory.model import Connection

MARKER = b"\0CNIP\0"
LONGEST_NOISE = 1024 * 1024
Read = Callable[[int], Awaitable[bytes]]


@dataclass(frozen=True)
class Secrets:
    """Passwords of a run, from prompts or files; never in argv, environment, events or reprs."""

    become_password: str | None = None
    login_password: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


@dataclass(frozen=True)
class Settings:
    """What a run says to every transport: seconds to connect where the user's configuration says nothing,
    and whether connections are kept for the next run (`--mux`)."""

    connect_timeout: int = 10
    mux: bool = False


class Session(Protocol):
    """One running program on a node; its stdin and stdout are the conversation."""

    async def write(self, block: bytes) -> None:
        """Send bytes; returns when they are accepted, and returns quietly if the program has ended."""

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes; raises `EOFError` when the program ends before."""

    async def close(self) -> None:
        """Close stdin and wait for the end; safe to call twice."""

    async def abandon(self) -> None:
        """End the session at once, for a deadline or a second Ctrl-C; the node sees the end of its stdin."""

    async def diagnosis(self) -> Exception:
        """Why the conversation ended early, as `Unreachable`, `Denied` or `NodeFailed`, from stderr and exit code."""


async def skip_past(read: Read, marker: bytes) -> None:
    """Drop what is read until `marker` has been read; raises `EOFError`, also after `LONGEST_NOISE` bytes."""
    seen = await read(len(marker))
    for _ in range(LONGEST_NOISE):
        if seen == marker:
            return
        seen = seen[1:] + await read(1)
    raise EOFError(f"{LONGEST_NOISE} bytes, but no sign of the node program")


class Transport(Protocol):
    """How a kind of connection is opened."""

    async def open(self, node: str, connection: Connection, argv: Sequence[str], secrets: Secrets) -> Session:
        """Start `argv` on the node as root and return its session; raises `NodeError`."""

    async def shared_hop(self, connection: Connection) -> str | None:
        """What names the jump host of this connection, so that the fleet can spare it; None: direct."""
