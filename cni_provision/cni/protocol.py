"""What a plugin is told, as pure functions: its environment and its stdin. (`outcome` has what it answers.)"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cni_provision.cni import names
from cni_provision.cni.config import NetworkConfig, PluginConfig
from cni_provision.cni.results import encode_result
from cni_provision.cni.types import INVALID_ENVIRONMENT, CNIError, Result
from cni_provision.cni.values import encode

# What the runtime sets or takes out, however the file spells it: a second spelling would win in a Go plugin.
_OURS = frozenset({"cniversion", "name", "prevresult", "capabilities"})

AttachmentKey = tuple[str, str]  # (container id, ifname)


@dataclass(frozen=True)
class Attachment:
    """A container's place in a network. `netns` may be empty on DEL; `capabilities` maps a name to its JSON value."""

    container_id: str
    netns: str
    ifname: str = "eth0"
    args: tuple[tuple[str, str], ...] = ()
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> AttachmentKey:
        return self.container_id, self.ifname


def check_attachment(attachment: Attachment) -> None:
    """Raise CNIError for ids that no plugin takes: 3 for no id at all, else 4."""
    names.check_container_id(attachment.container_id)
    names.check_ifname(attachment.ifname)
    for key, value in attachment.args:
        if not key or any(sign in key + value for sign in "=;"):
            raise CNIError(INVALID_ENVIRONMENT, f"CNI_ARGS cannot hold `{key}={value}`: it has no quotes for = and ;")


def environment(
    base: Mapping[str, str], command: str, path: Sequence[str], attachment: Attachment | None = None
) -> dict[str, str]:
    """The caller's environment with CNI_* of this call over it; without an attachment its variables are empty."""
    attachment = attachment or Attachment("", "", "")
    return {
        **base,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_NETNS": attachment.netns,
        "CNI_IFNAME": attachment.ifname,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in attachment.args),
        "CNI_PATH": os.pathsep.join(path),
    }


def stdin(
    network: NetworkConfig,
    plugin: PluginConfig,
    *,
    capabilities: Mapping[str, Any] | None = None,
    previous: Result | None = None,
    valid: Collection[AttachmentKey] | None = None,
) -> bytes:
    """One plugin's configuration for one call (SPEC 4: deriving execution configuration).

    `previous` is printed in the network's version; `valid` is GC's list.
    """
    supplied = runtime_config(plugin, capabilities or {})
    dropped = _OURS | ({"runtimeconfig"} if supplied else set())
    told = {key: value for key, value in plugin.raw.items() if not _is_ours(key.lower(), dropped)}
    told |= {"cniVersion": network.cni_version, "name": network.name}
    if supplied:
        told["runtimeConfig"] = supplied
    if previous is not None:
        told["prevResult"] = encode_result(previous, network.cni_version)
    if valid is not None:
        listed = [{"containerID": container_id, "ifname": ifname} for container_id, ifname in sorted(valid)]
        # libcni before 1.2 wrote the second key, and plugins were built against it.
        told |= {"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed}
    return encode(told)


def _is_ours(folded: str, dropped: Collection[str]) -> bool:
    return folded in dropped or folded.startswith("cni.dev/")


def runtime_config(plugin: PluginConfig, capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """What the runtime supplies, as far as the plugin declares to take it."""
    return {name: value for name, value in capabilities.items() if name in plugin.capabilities}
