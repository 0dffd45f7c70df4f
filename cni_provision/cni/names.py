"""What an id, a network, an interface and a plugin may be called (SPEC: parameters; libcni: pkg/utils)."""

from __future__ import annotations

from cni_provision.cni.types import INVALID_CONFIG, INVALID_ENVIRONMENT, UNKNOWN_CONTAINER, CNIError

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_SIGNS = _FIRST | set("_.-")
MAX_IFNAME = 15  # IFNAMSIZ without its zero


def check_container_id(container_id: str) -> None:
    if not container_id:
        raise CNIError(UNKNOWN_CONTAINER, "missing containerID")
    if not _is_name(container_id):
        raise CNIError(INVALID_ENVIRONMENT, "invalid characters in containerID", container_id)


def check_network(name: str) -> None:
    if not name:
        raise CNIError(INVALID_CONFIG, "missing network name")
    if not _is_name(name):
        raise CNIError(INVALID_CONFIG, "invalid characters found in network name", name)


def check_ifname(name: str) -> None:
    if not name:
        raise CNIError(INVALID_ENVIRONMENT, "interface name is empty")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_IFNAME:
        raise CNIError(INVALID_ENVIRONMENT, f"interface name is longer than {MAX_IFNAME} bytes", name)
    if name in (".", ".."):
        raise CNIError(INVALID_ENVIRONMENT, "interface name is . or ..", name)
    if any(sign in "/:\0" or sign.isspace() for sign in name):
        raise CNIError(INVALID_ENVIRONMENT, "interface name contains / or : or whitespace characters", name)


def check_plugin(plugin_type: str) -> None:
    """`type` and `ipam.type` name an executable in CNI_PATH, never a path."""
    if not plugin_type:
        raise CNIError(INVALID_CONFIG, "no plugin name provided")
    if "/" in plugin_type or plugin_type in (".", "..") or "\0" in plugin_type:
        raise CNIError(INVALID_CONFIG, f"invalid plugin name: {plugin_type}")


def _is_name(text: str) -> bool:
    return text[:1] in _FIRST and _SIGNS.issuperset(text)
