"""`ansible_connection: lab`: enter a lab node's namespaces, without SSH; `ansible_host` is `<lab>/<node>`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from cni_provision import lab
from cni_provision.errors import Unreachable, UserError
from cni_provision.inventory.model import Connection
from cni_provision.lab.enter import ENVIRONMENT
from cni_provision.transport import become, diagnosis, process
from cni_provision.transport.base import Secrets, Session, Settings


class Transport:
    """Runs the node program as root in a lab node; there is nobody to become."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def shared_hop(self, connection: Connection) -> str | None:
        return None

    async def open(self, node: str, connection: Connection, argv: Sequence[str], secrets: Secrets) -> Session:
        name, _, host = connection.host.rpartition("/")
        try:
            command = lab.command(lab.find(name or "default"), host, argv)
        except UserError as error:
            raise Unreachable(error.message, node=node, hint=error.hint) from error
        starting = process.start(command, partial(diagnosis.of_program, node), AsyncExitStack(), ENVIRONMENT)
        return await become.begin(node, starting, become.Elevated(command))
