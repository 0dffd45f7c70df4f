"""What `exec` needs around the runtime library: the configuration, and cnitool's conventions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cni_provision.cni.config import NetworkConfig
    from cni_provision.cni.runtime import Attachment, Runtime

NEW = "new"
SUFFIXES = (".conflist", ".conf", ".json")


@dataclass(frozen=True)
class Where:
    """Where configurations, plugins and cached results are; the names of cnitool's environment."""

    conf_dir: str = "/etc/cni/net.d"
    plugin_path: str = "/opt/cni/bin"
    cache_dir: str = "/var/lib/cni"

    @property
    def runtime(self) -> Runtime:
        from cni_provision.cni.runtime import Runtime

        return Runtime(tuple(filter(None, self.plugin_path.split(":"))), cache_dir=self.cache_dir)

    def network(self, name: str) -> NetworkConfig:
        """By name in the folder, or a file; raises `CNIError`."""
        from cni_provision.cni import config

        by_name = "/" not in name and not name.endswith(SUFFIXES)
        return config.find(self.conf_dir, name) if by_name else config.load_file(name)

    def files(self) -> list[str]:
        """The configurations of the folder, in the order in which runtimes read them."""
        from cni_provision.cni import config

        return config.files(self.conf_dir, SUFFIXES)


@dataclass(frozen=True)
class Container:
    """The container that is attached; an empty id is derived from the namespace as cnitool does."""

    netns: str = NEW
    ifname: str = "eth0"
    args: str = ""
    cap_args: str = ""
    cap: tuple[str, ...] = ()
    container_id: str = ""

    def attachment(self, netns: str) -> Attachment:
        from cni_provision.cni.runtime import Attachment

        return Attachment(
            container_id=self.container_id or container_id(netns),
            netns=netns,
            ifname=self.ifname,
            args=pairs(self.args),
            capabilities=capabilities(self.cap_args, self.cap),
        )


def container_id(netns: str) -> str:
    """`cnitool-` and the first ten bytes of the SHA-512 of the absolute path, in hex."""
    import hashlib

    return f"cnitool-{hashlib.sha512(os.path.abspath(netns).encode()).hexdigest()[:20]}"


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """CNI_ARGS: `K=V;K2=V2`."""
    found = [tuple(part.split("=", 1)) for part in text.split(";") if part]
    if any(len(pair) != 2 for pair in found):
        raise click.UsageError(f"`{text}` is not of the form `KEY=VALUE;KEY=VALUE`")
    return tuple((pair[0], pair[1]) for pair in found)


def capabilities(text: str, options: tuple[str, ...]) -> dict[str, Any]:
    """CAP_ARGS, a JSON object, and each `--cap NAME=JSON` on top of it."""
    found = parsed(text, "CAP_ARGS") if text else {}
    if not isinstance(found, dict):
        raise click.UsageError("CAP_ARGS is not a JSON object")
    for option in options:
        name, separator, value = option.partition("=")
        if not separator:
            raise click.UsageError(f"`--cap {option}` is not of the form `NAME=JSON`")
        found[name] = parsed(value, f"--cap {name}")
    return found


def parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"`{where}` is not JSON: {error}") from error


def error_json(code: int, msg: str, details: str) -> str:
    """An error as the specification prints it (SPEC, section 5.2)."""
    fields: Mapping[str, Any] = {"cniVersion": "1.0.0", "code": code, "msg": msg}
    return json.dumps({**fields, "details": details} if details else fields, indent=2) + "\n"
