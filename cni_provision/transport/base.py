"""The seam between the fleet and a node: open a session that runs one program as root, then converse in bytes.

A transport is one module in this folder with a class `Transport`; `connection.kind` is the module's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cni_provision.inventory.model import Connection

MARKER = b"\0CNIP\0"


@dataclass(frozen=True)
class Secrets:
    """Passwords of a run, from prompts or files; never in argv, environment, events or reprs."""

    become_password: str | None = None
    login_password: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


class Session(Protocol):
    """One running program on a node; its stdin and stdout are the conversation."""

    async def write(self, block: bytes) -> None:
        """Send bytes; returns when they are accepted, and returns quietly if the program has ended."""

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes; raises `EOFError` when the program ends before."""

    async def close(self) -> None:
        """Close stdin and wait for the end; safe to call twice."""

    async def diagnosis(self) -> Exception:
        """Why the conversation ended early, as `Unreachable`, `Denied` or `NodeFailed`, from stderr and exit code."""


class Transport(Protocol):
    """How a kind of connection is opened."""

    async def open(self, node: str, connection: Connection, argv: Sequence[str], secrets: Secrets) -> Session:
        """Start `argv` on the node as root and return its session; raises `NodeError`."""
