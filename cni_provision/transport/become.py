"""Becoming root on a node with sudo or doas, over the same session, with or without a password.

A password travels as a line of stdin, never in a command line or an environment. With sudo it is sent
only when sudo asks (`-S` prompts on stderr), and once: a second question means that it was wrong, and
further attempts could lock the account. The node's program is held back until `GATE` shows that the
command runs.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cni_provision.errors import Denied, NodeFailed
from cni_provision.inventory.model import Connection
from cni_provision.transport import terminal
from cni_provision.transport.process import ProcessSession

GATE = b"\0CNIP-ROOT\0"
PROMPT = "CNIP-PASSWORD:"
OPEN_GATE = ("sh", "-c", r"""printf '\000CNIP-ROOT\000' && exec "$@" """, "sh")
METHODS = ("sudo", "doas")


@dataclass(frozen=True)
class Elevated:
    """What to run as the login user. `password` must be given before it goes on; `asks` tells when."""

    argv: tuple[str, ...]
    password: str | None = None
    asks: bool = False

    def __repr__(self) -> str:
        return f"Elevated({self.argv!r})"


def elevate(node: str, connection: Connection, argv: Sequence[str], password: str | None) -> Elevated:
    """The command that runs `argv` as root; raises `Denied` for a method that is not sudo or doas."""
    if not connection.become:
        return Elevated(tuple(argv))
    method, flags = connection.become_method, shlex.split(connection.become_flags or "")
    user = (*flags, "-u", connection.become_user, "--")
    if method not in METHODS:
        raise Denied(
            f"`ansible_become_method: {method}` is not supported",
            node=node,
            hint=f"set it to {' or '.join(METHODS)}, or log in as root",
        )
    if password is None:
        return Elevated((method, "-n", *user, *argv))
    gated = (*user, *OPEN_GATE, *argv)
    if method == "sudo":
        return Elevated(("sudo", "-k", "-S", "-p", PROMPT, *gated), password, asks=True)
    return Elevated(terminal.argv(connection.python, ("doas", *gated)), password)


async def begin(node: str, starting: Awaitable[ProcessSession], elevated: Elevated) -> ProcessSession:
    """The session of a process that runs `elevated`, as root by now; raises `NodeError`."""
    try:
        session = await starting
    except OSError as error:
        raise NodeFailed(f"cannot start `{error.filename}`: {error.strerror}", node=node) from error
    try:
        await unlock(node, session, elevated)
    except BaseException:
        await session.abandon()
        raise
    return session


async def unlock(node: str, session: ProcessSession, elevated: Elevated) -> None:
    """Give the password and wait until the command runs; raises `Denied`, or what the session's end means."""
    if elevated.password is None:
        return
    line = elevated.password.encode() + b"\n"
    if not elevated.asks:
        await session.write(line)
    gate = asyncio.create_task(session.skip_past(GATE))
    try:
        await _answer_once(node, session, gate, line)
        await gate
    except EOFError:
        raise await session.diagnosis() from None
    finally:
        gate.cancel()
        with suppress(asyncio.CancelledError, EOFError):
            await gate


async def _answer_once(node: str, session: ProcessSession, gate: asyncio.Task[None], line: bytes) -> None:
    answered = False
    while not gate.done():
        asked = session.said.count(PROMPT.encode())
        if asked > 1:
            raise Denied("sudo: the password is wrong", node=node, hint="it was tried once; give it again with `-K`")
        if asked and not answered:
            answered = True
            await session.write(line)
        await session.hear(gate)
