"""What `exec` works with: where networks and plugins are, the container, and cnitool's conventions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cni_provision.inventory.hiding import Hiding

if TYPE_CHECKING:
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.cni.config import NetworkConfig
    from cni_provision.cni.runtime import Attachment, Cached
    from cni_provision.cni.types import CNIError

NEW = "new"
SUFFIXES = (".conflist", ".conf", ".json")
CONF_DIR = "/etc/cni/net.d"
PLUGIN_PATH = "/opt/cni/bin"
CACHE_DIR = "/var/lib/cni"
OTHERS_READ = 0o077


@dataclass(frozen=True)
class Where:
    """What the options say: this machine's folders, or a node of an inventory."""

    conf_dir: str = CONF_DIR
    plugin_path: str | None = None
    cache_dir: str = CACHE_DIR
    node: str | None = None
    inventory: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    reader: str = "own"
    playbook_dir: str | None = None
    vault_id: tuple[str, ...] = ()

    @contextmanager
    def opened(self, emit: Emit) -> Iterator[Place]:
        """The folders to work with; those of a node are made of its inventory and go with the block."""
        given = tuple(filter(None, (self.plugin_path or "").split(os.pathsep)))
        if self.node is None:
            yield Place(self.conf_dir, given or (PLUGIN_PATH,), self.cache_dir)
            return
        from cni_provision.cli.run.likeness import likeness

        with likeness(self, emit) as made:
            yield Place(made.conf_dir, given or (made.bin_dir, PLUGIN_PATH), self.cache_dir, self.node, made.hiding)

    @property
    def words(self) -> list[str]:
        """The options that name the same place again."""
        pairs = [("--node", self.node), *(("-i", one) for one in self.inventory), ("--path", self.plugin_path)]
        pairs += [("-e", one) for one in self.extra_vars] + [("--vault-id", one) for one in self.vault_id]
        pairs += [("--playbook-dir", self.playbook_dir), ("--reader", self.reader if self.reader != "own" else None)]
        pairs += [("--conf-dir", self.conf_dir)] if self.conf_dir != CONF_DIR else []
        pairs += [("--cache-dir", self.cache_dir)] if self.cache_dir != CACHE_DIR else []
        return [word for name, value in pairs if value for word in (name, value)]


@dataclass(frozen=True)
class Place:
    """A folder of configurations, folders of plugins, and the results of attachments."""

    conf_dir: str
    path: tuple[str, ...]
    cache_dir: str
    node: str | None = None  # whose inventory the folder was made of
    hiding: Hiding = field(default_factory=Hiding)  # and its secrets

    def network(self, name: str) -> NetworkConfig:
        """By name in the folder, or a file; raises `CNIError`."""
        from cni_provision.cni import config

        if is_file(name):
            return self.read(name)
        try:
            return config.find(self.conf_dir, name)
        except config.NotFound as error:
            raise self.no_network(name) from error

    def is_private(self, name: str) -> bool:
        """Whether the file of a network, or this file, is for nobody else's eyes.

        The inventory knows which values of a node's are secret, so that the others may be seen.
        """
        from cni_provision.cni import config
        from cni_provision.cni.types import CNIError

        if self.node is not None:
            return False
        for file in [name] if is_file(name) else self.files():
            with suppress(CNIError, OSError):
                if not os.stat(file).st_mode & OTHERS_READ and (file == name or config.load_file(file).name == name):
                    return True
        return False

    def read(self, file: str) -> NetworkConfig:
        """The network of a file; the error names it."""
        from cni_provision.cni import config
        from cni_provision.cni.types import CNIError

        try:
            return config.load_file(file)
        except CNIError as error:
            said = error.msg if file in error.msg else f"{file}: {error.msg}"
            raise CNIError(error.code, said, error.details) from error

    def no_network(self, name: str) -> CNIError:
        """That there is none of this name, and which there are."""
        from cni_provision.cni import config
        from cni_provision.cni.types import INVALID_CONFIG, CNIError

        found = set()
        for file in self.files():
            with suppress(CNIError):
                found.add(config.load_file(file).name)
        there = f"known: {', '.join(sorted(found))}" if found else "there is none"
        where = f"in {self.conf_dir}" if self.node is None else f"of node {self.node}"
        return CNIError(INVALID_CONFIG, f"no network `{name}` {where}", there)

    def files(self) -> list[str]:
        """The configurations of the folder, in order of name; raises `CNIError` for what is no folder."""
        from cni_provision.cni import config
        from cni_provision.cni.types import INVALID_CONFIG, CNIError

        if os.path.exists(self.conf_dir) and not os.path.isdir(self.conf_dir):
            raise CNIError(INVALID_CONFIG, f"cannot read {self.conf_dir}: Not a directory")
        return config.files(self.conf_dir, SUFFIXES)


def is_file(name: str) -> bool:
    """Whether a network is named by its file; networks, too, may be called `pods.conf`."""
    return "/" in name or (name.endswith(SUFFIXES) and os.path.exists(name))


@dataclass(frozen=True)
class Container:
    """The container as the options have it; an empty id is derived from the namespace as cnitool does."""

    netns: str | None = None
    ifname: str | None = None
    args: str = ""
    cap_args: str = ""
    cap: tuple[str, ...] = ()
    container_id: str = ""

    def attachment(self, netns: str) -> Attachment:
        """The attachment in that namespace."""
        from cni_provision.cni.runtime import Attachment

        netns = os.path.abspath(netns) if netns else ""
        return Attachment(
            container_id=self.container_id or container_id(netns),
            netns=netns,
            ifname=self.ifname or "eth0",
            args=pairs(self.args),
            capabilities=capabilities(self.cap_args, self.cap),
        )

    def may_be(self, cached: Cached) -> bool:
        """Whether this attachment is meant, as far as it is named."""
        known = cached.attachment
        return self.container_id in ("", known.container_id) and self.ifname in (None, known.ifname)

    @property
    def words(self) -> list[str]:
        """The options that name the same attachment again."""
        pairs = [("--ifname", self.ifname), ("--container-id", self.container_id)]
        return [word for name, value in pairs if value for word in (name, value)]


def one_namespace(positional: str | None, option: str | None) -> str | None:
    """NETNS may stand where cnitool wants it, or behind `--netns`."""
    if positional and option and positional != option:
        raise click.UsageError(f"two namespaces: `{positional}` and `--netns {option}`")
    return positional or option


def container_id(netns: str) -> str:
    """`cnitool-` and the first ten bytes of the SHA-512 of the absolute path, in hex."""
    import hashlib

    return f"cnitool-{hashlib.sha512(os.fsencode(os.path.abspath(netns))).hexdigest()[:20]}"


def require_namespace(path: str) -> None:
    """Raises `CNIError` 8 where there is none; a plugin would say so in words of its own, and perhaps late."""
    from cni_provision.cni.types import INVALID_NETNS, CNIError
    from cni_provision.net import netns

    try:
        os.close(netns.open_path(path))
    except OSError as error:
        named = Path("/run/netns", os.path.basename(path))
        meant = f"did you mean {named}" if path != str(named) and named.is_file() else ""
        reason = f"cannot open the network namespace `{path}`: {error.strerror}"
        raise CNIError(INVALID_NETNS, reason, meant) from error


def is_alive(cached: Cached) -> bool:
    """Whether the namespace of an attachment is still there."""
    from cni_provision.cni.types import CNIError

    with suppress(CNIError):
        require_namespace(cached.attachment.netns)
        return True
    return False


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """CNI_ARGS: `K=V;K2=V2`; a value can hold neither `=` nor `;`."""
    found = [tuple(part.split("=")) for part in text.split(";") if part]
    if any(len(pair) != 2 or not all(pair) for pair in found):
        raise click.UsageError(f"`{text}` is not of the form `KEY=VALUE;KEY=VALUE`")
    return tuple((pair[0], pair[1]) for pair in found)


def capabilities(text: str, options: tuple[str, ...]) -> dict[str, Any]:
    """CAP_ARGS, a JSON object, and each `--cap NAME=JSON` on top of it."""
    found = parsed(text, "CAP_ARGS") if text else {}
    if not isinstance(found, dict):
        raise click.UsageError("CAP_ARGS is not a JSON object")
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name:
            raise click.UsageError(f"`--cap {option}` is not of the form `NAME=JSON`")
        found[name] = parsed(value, f"--cap {name}")
    return found


def parsed(text: str, where: str) -> Any:
    """A JSON value; `NaN` and `Infinity` are none, though Python reads them."""
    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"`{where}` is not JSON: {error}") from error


def refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number")
