"""Network configurations: `.conflist`, and single `.conf`/`.json` files as lists of one (SPEC 1; libcni: conf.go).

From bytes (`load`), from a file with its side folder (`load_file`), by name from a folder (`find`). What is wrong
is a CNIError: 6 where it is no JSON, 7 where it breaks a rule; `NotFound` where a folder does not have it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cni_provision.cni import names, versions
from cni_provision.cni.types import INVALID_CONFIG, UNDECODABLE, CNIError
from cni_provision.cni.values import Config, decode_object, encode

LIST_SUFFIX = ".conflist"
SINGLE_SUFFIXES = (".conf", ".json")


class NotFound(CNIError):
    """A folder has no network of that name; `empty` where it has no configuration at all."""

    def __init__(self, folder: str, name: str, *, empty: bool) -> None:
        unknown = f'no net configuration with name "{name}" in {folder}'
        what = f"no net configurations found in {folder}" if empty else unknown
        super().__init__(INVALID_CONFIG, what)
        self.folder = folder
        self.name = name
        self.empty = empty


@dataclass(frozen=True)
class PluginConfig:
    """One plugin of a network; `raw` is its object as written, every key of which the plugin gets."""

    type: str
    raw: dict[str, Any] = field(repr=False)
    capabilities: frozenset[str] = frozenset()
    ipam_type: str = ""


@dataclass(frozen=True)
class NetworkConfig:
    """A network: `cni_version` is negotiated, `content` is the file's bytes (the result cache keeps them)."""

    name: str
    cni_version: str
    plugins: tuple[PluginConfig, ...]
    disable_check: bool = False
    disable_gc: bool = False
    only_inlined: bool = False
    content: bytes = field(default=b"", repr=False)


def load(content: bytes) -> NetworkConfig:
    """A conflist, or a single configuration as a list of one, whichever the bytes are."""
    raw = Config(decode_object(content))
    return load_conf(content) if "type" in raw and "plugins" not in raw else load_conflist(content)


def load_conflist(content: bytes) -> NetworkConfig:
    """A conflist that stands by itself; it must have plugins."""
    return _with_plugins(_read_list(content), ())


def load_conf(content: bytes) -> NetworkConfig:
    """A single configuration (before 1.0) as a list of one."""
    raw = decode_object(content)
    config = Config(raw)
    plugin = _plugin(config)
    whole = {"name": config.text("name"), "cniVersion": config.text("cniVersion"), "plugins": [raw]}
    head = _read_list(encode({key: value for key, value in whole.items() if value}))
    return replace(head, plugins=(plugin,))


def load_plugin(content: bytes) -> PluginConfig:
    """A file of a side folder: one plugin's object."""
    return _plugin(Config(decode_object(content)))


def load_file(path: str) -> NetworkConfig:
    """A configuration by its file's name, for a conflist with what its side folder adds.

    The side folder is named like the network and stands beside the file; its `*.conf` come after the plugins of
    the list, in the order of their names.
    """
    if not path.endswith(LIST_SUFFIX):
        return load(_content(path))
    network = _read_list(_content(path))
    folder = os.path.join(os.path.dirname(path), network.name)
    inlined = network.only_inlined
    side = () if inlined else tuple(load_plugin(_content(file)) for file in files(folder, (".conf",)))
    return _with_plugins(network, side)


def inject(plugin: PluginConfig, values: Mapping[str, Any]) -> PluginConfig:
    """The same with these keys over its own. Raises CNIError 7 for an empty key, for None, and for no `type`."""
    for key, value in values.items():
        if not key or value is None:
            raise CNIError(INVALID_CONFIG, f"cannot inject `{key}`: neither the key nor the value may be empty")
    return load_plugin(encode({**plugin.raw, **values}))


def find(folder: str, name: str) -> NetworkConfig:
    """The network of that name: the conflists of the folder first, then its single files, each in order of name.

    As in libcni a malformed file that comes first is an error. Raises NotFound.
    """
    lists = files(folder, (LIST_SUFFIX,))
    for path in lists:
        if _name_in(path) == name:
            return load_file(path)
    try:
        return find_conf(folder, name)
    except NotFound as error:
        raise NotFound(folder, name, empty=error.empty and not lists) from None


def find_conf(folder: str, name: str) -> NetworkConfig:
    """The same among the folder's single files alone."""
    singles = files(folder, SINGLE_SUFFIXES)
    for path in singles:
        if _name_in(path) == name:
            return load_conf(_content(path))
    raise NotFound(folder, name, empty=not singles)


def files(folder: str, suffixes: Iterable[str]) -> list[str]:
    """The configuration files of a folder, sorted; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.path for entry in entries if entry.is_file() or entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CNIError(INVALID_CONFIG, f"cannot read {folder}: {error.strerror}") from error
    return sorted(path for path in found if os.path.splitext(path)[1] in tuple(suffixes) and not os.path.isdir(path))


def _read_list(content: bytes) -> NetworkConfig:
    """The list as written; a side folder may still bring plugins."""
    raw = Config(decode_object(content))
    names.check_network(raw.text("name"))
    only_inlined = _switch(raw, "loadOnlyInlinedPlugins")
    if only_inlined and "plugins" not in raw:
        raise CNIError(INVALID_CONFIG, "`loadOnlyInlinedPlugins` is true, and there is no `plugins`")
    if "plugins" in raw and not raw.sequence("plugins"):
        raise CNIError(INVALID_CONFIG, "`plugins` is empty: no plugins in list")
    return NetworkConfig(
        name=raw.text("name"),
        cni_version=versions.negotiate(raw.text("cniVersion"), raw.texts("cniVersions")),
        plugins=tuple(_plugin(one) for one in raw.mappings("plugins")),
        disable_check=_switch(raw, "disableCheck"),
        disable_gc=_switch(raw, "disableGC"),
        only_inlined=only_inlined,
        content=content,
    )


def _with_plugins(network: NetworkConfig, side: tuple[PluginConfig, ...]) -> NetworkConfig:
    plugins = network.plugins + side
    if not plugins:
        raise CNIError(INVALID_CONFIG, f"no plugin configs found for network `{network.name}`")
    return replace(network, plugins=plugins)


def _plugin(raw: Config) -> PluginConfig:
    plugin_type = raw.text("type")
    if not plugin_type:
        raise raw.error("type", "must name the plugin's executable")
    names.check_plugin(plugin_type)
    capabilities = raw.mapping("capabilities")
    declared = frozenset(key for key in capabilities if capabilities.boolean(key))
    return PluginConfig(plugin_type, dict(raw.raw), declared, raw.mapping("ipam").text("type"))


def _switch(raw: Config, key: str) -> bool:
    """A boolean of a list, which may also be written as text."""
    value = raw.get(key, False)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise raw.error(key, 'must be true, false, "true" or "false"')
    return value


def _name_in(path: str) -> str:
    try:
        return Config(decode_object(_content(path))).text("name")
    except CNIError as error:
        raise CNIError(error.code, f"{path}: {error.msg}", error.details) from error


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CNIError(UNDECODABLE, f"cannot read {path}: {error.strerror}") from error
