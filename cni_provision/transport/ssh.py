"""`ansible_connection: ssh`: the user's own `ssh` program, one run of it per node, everything over its stdin.

Names, keys, agents, jump hosts, certificates and host keys are what the user's configuration says. Added
is only what a fleet needs (no questions, a connect time-out where there is none, `--mux` on request);
host-key checking and key exchange are never touched.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cache, partial
from pathlib import Path

from cni_provision.errors import UserError
from cni_provision.inventory.model import Connection
from cni_provision.transport import askpass, become, diagnosis, process
from cni_provision.transport.base import Secrets, Session, Settings
from cni_provision.transport.ssh_configuration import Configuration, Configurations
from cni_provision.transport.ssh_files import silent

LONGEST_SOCKET_PATH = 104  # of sockaddr_un where it is shortest
SOCKET_NAME = 8 + 40 + 17  # our digest, %C, and the suffix that `ssh` adds while it makes the socket


class Transport:
    """Opens sessions by running `ssh`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._configurations = Configurations()
        self._silent = cache(silent)

    async def shared_hop(self, connection: Connection) -> str | None:
        return (await self._configuration("", connection)).hop

    async def open(self, node: str, connection: Connection, argv: Sequence[str], secrets: Secrets) -> Session:
        elevated = become.elevate(node, connection, argv, secrets.become_password)
        configuration = await self._configuration(node, connection, names=secrets.login_password is not None)
        async with AsyncExitStack() as resources:
            environment = await _answers(resources, configuration, secrets.login_password)
            words = options(connection, configuration, self._settings, asks=secrets.login_password is not None)
            command = ("ssh", *words, *destination(connection), shlex.join(elevated.argv))
            judge = partial(diagnosis.of_ssh, node)
            starting = process.start(command, judge, resources.pop_all(), environment)
            return await become.begin(node, starting, elevated)

    async def _configuration(self, node: str, connection: Connection, *, names: bool = False) -> Configuration:
        """What the user's configuration says; `names`: the prompts' names are needed as well."""
        if not names and self._silent(login(connection)):
            return Configuration()
        return await self._configurations.of(node, (*login(connection), *destination(connection)))


def login(connection: Connection) -> tuple[str, ...]:
    """Options of the inventory's connection variables; those of the user's `ssh_args` come last."""
    port = ("-p", str(connection.port)) if connection.port else ()
    user = ("-l", connection.user) if connection.user else ()
    key = ("-i", connection.private_key) if connection.private_key else ()
    return (*port, *user, *key, *connection.ssh_args)


def destination(connection: Connection) -> tuple[str, ...]:
    """The host, which cannot be taken for an option."""
    return ("--", connection.host)


def options(
    connection: Connection, configuration: Configuration, settings: Settings, *, asks: bool
) -> tuple[str, ...]:
    """All options of a session. For `ssh` the first of two equal ones wins."""
    quiet = ("-oBatchMode=no", "-oNumberOfPasswordPrompts=1") if asks else ("-oBatchMode=yes",)
    timeout: tuple[str, ...] = ()
    if connection.timeout or not configuration.has_connect_timeout:
        timeout = (f"-oConnectTimeout={connection.timeout or settings.connect_timeout}",)
    shared = multiplexing(connection) if settings.mux and not configuration.has_control else ()
    return ("-T", *quiet, *timeout, *shared, *login(connection))


def multiplexing(connection: Connection) -> tuple[str, ...]:
    """Keep the connection for a minute. `%C` alone would mix up nodes that differ in their options only."""
    distinct = hashlib.sha256("\0".join(login(connection)).encode()).hexdigest()[:8]
    path = control_folder(os.environ) / f"{distinct}%C"
    return ("-oControlMaster=auto", "-oControlPersist=60", f"-oControlPath={path}")


def control_folder(environment: Mapping[str, str]) -> Path:
    """A folder of this user alone, with a path short enough for sockets in it; raises `UserError`."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    choices = [Path(runtime, "cni-provision-ssh")] if runtime else []
    choices.append(Path(tempfile.gettempdir(), f"cni-provision-ssh-{os.getuid()}"))
    choices.append(Path(f"/tmp/cni-provision-ssh-{os.getuid()}"))
    folder = next((path for path in choices if len(f"{path}/") + SOCKET_NAME < LONGEST_SOCKET_PATH), choices[-1])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
        raise UserError(f"`{folder}` is not a folder of yours alone", hint="remove it, or run without `--mux`")
    return folder


async def _answers(
    resources: AsyncExitStack, configuration: Configuration, password: str | None
) -> Mapping[str, str] | None:
    """The environment in which `ssh` gets the login password; None: as it is."""
    if password is None:
        return None
    wanted = partial(askpass.asks_for, login=configuration.login, direct=configuration.hop is None)
    return await resources.enter_async_context(askpass.answering(password, wanted))
