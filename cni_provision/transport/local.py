"""`ansible_connection: local`: the node is this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from cni_provision.inventory.model import Connection
from cni_provision.transport import become, diagnosis, process
from cni_provision.transport.base import Secrets, Session, Settings


class Transport:
    """Runs the node program as a child of this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def shared_hop(self, connection: Connection) -> str | None:
        return None

    async def open(self, node: str, connection: Connection, argv: Sequence[str], secrets: Secrets) -> Session:
        elevated = become.elevate(node, connection, argv, secrets.become_password)
        starting = process.start(elevated.argv, partial(diagnosis.of_program, node), AsyncExitStack())
        return await become.begin(node, starting, elevated)
