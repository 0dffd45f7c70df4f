"""Which network a runtime chooses in a folder, and why: each runtime's own rule, as its source has it.

runtime     source                                                   a malformed file
containerd  go-cni, opts.go: loadFromConfDir                         ends it: no network at all
CRI-O       ocicni, ocicni.go: loadNetworks                          is skipped
libcni      libcni, conf.go: LoadNetworkConf (cnitool and others)    ends every search that comes to it
Podman      containers/common, libnetwork/cni/network.go             is skipped

A file is read as libcni reads it, which is stricter than `config`: a list's own keys are matched to the letter.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Optional

from cni_provision.cni import names, versions
from cni_provision.cni.types import INVALID_CONFIG, UNDECODABLE, CNIError
from cni_provision.cni.values import Config, decode, decode_object, encode

LISTS = (".conflist",)
SINGLES = (".conf", ".json")
PODMANS_DEFAULT = "podman"

Speaks = Callable[[str], Collection[str]]  # the versions that a plugin speaks; raises CNIError


@dataclass(frozen=True)
class Look:
    """What a runtime makes of one file. `verdict`: chosen, known, hidden, skipped, fatal, unread, ignored."""

    file: str
    verdict: str
    why: str = ""
    network: str = ""


@dataclass(frozen=True)
class Choice:
    """A runtime's answer: the network, "" where it has none, its file, "" where there is none, and every look."""

    runtime: str
    network: str
    file: str
    why: str
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class Found:
    """A network as libcni reads it from a file; `first` is its first plugin's object."""

    file: str
    name: str
    version: str
    types: tuple[str, ...]
    first: Mapping[str, Any]


@dataclass(frozen=True)
class Folder:
    """A folder of configurations, and how plugins are asked for their versions; None: they are not asked."""

    path: str
    speaks: Optional[Speaks] = None

    def files(self, suffixes: Collection[str]) -> list[str]:
        """The names that libcni's ConfFiles gives, in order: hidden ones and links to folders are among them."""
        return [name for name in self._names() if _suffix(name) in suffixes]

    def others(self, suffixes: Collection[str]) -> Iterator[Look]:
        """What else lies there."""
        wanted = " ".join(suffixes)
        for name in self._names():
            if _suffix(name) not in suffixes:
                yield Look(name, "ignored", f"not {wanted}")

    def read(self, name: str) -> Found:
        """Raises CNIError with the reason why libcni does not load this file."""
        content = _content(os.path.join(self.path, name))
        return self._list(name, content) if name.endswith(LISTS) else _single(name, content)

    def _list(self, name: str, content: bytes) -> Found:
        raw = _object(content)
        network, version, inlined = _head(raw)
        plugins = [_plugin(encode(one)) for one in _plugins(raw, only_inlined=inlined)]
        if not inlined:
            side = Folder(os.path.join(self.path, network))
            plugins += [_plugin(_content(os.path.join(side.path, one))) for one in side.files((".conf",))]
        if not plugins:
            raise CNIError(INVALID_CONFIG, "no plugin configs found")
        return Found(name, network, version, tuple(one.text("type") for one in plugins), plugins[0].raw)

    def objection(self, found: Found) -> str:
        """Why a runtime that asks each plugin for its versions refuses it; empty where it does not."""
        if self.speaks is None:
            return ""
        wanted = found.version or versions.OLDEST
        for plugin in found.types:
            try:
                if wanted not in self.speaks(plugin):
                    return f"plugin `{plugin}` does not speak {wanted}"
            except CNIError as error:
                return error.msg
        return ""

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:  # a name may hold a zero
            raise CNIError(INVALID_CONFIG, f"cannot read {self.path}: {error}") from error


def choices(folder: Folder, name: str = "") -> tuple[Choice, ...]:
    """Every runtime's answer; `name` is the network that it is told to use, where it can be told."""
    return tuple(rule(folder, name) for rule in RULES)


def containerd(folder: Folder, name: str = "") -> Choice:
    """The first file, whatever it is called; it cannot be told a name, and executes no plugin to see."""
    suffixes = (".conf", ".conflist", ".json")
    looks: list[Look] = []
    for file in folder.files(suffixes):
        if looks:
            looks.append(Look(file, "unread", "one file is enough (`max_conf_num = 1`)"))
            continue
        try:
            found = folder.read(file)
        except CNIError as error:
            looks.append(Look(file, "fatal", error.msg))
        else:
            looks.append(Look(file, "chosen", _unusable(folder, found), found.name))
    looks.extend(folder.others(suffixes))
    first = looks[0] if looks else Look("", "ignored")
    if first.verdict == "chosen":
        return Choice("containerd", first.network, first.file, "the first file in order of name", tuple(looks))
    if first.verdict == "fatal":
        return Choice("containerd", "", "", "the first file is malformed, and ends it", tuple(looks))
    return Choice("containerd", "", "", _nothing(suffixes), tuple(looks))


def crio(folder: Folder, name: str = "") -> Choice:
    """The network `cni_default_network`, else the first valid file; one whose plugins do not answer is not valid."""
    suffixes = (".conf", ".conflist", ".json")
    looks = _load_valid(folder, suffixes, lambda found: replace(found, name=found.name or found.file))
    wanted = name or next((look.network for look in looks if look.verdict == "known"), "")
    looks = [_chosen(look, wanted) for look in looks]
    chosen = next((look for look in looks if look.verdict == "chosen"), None)
    looks.extend(folder.others(suffixes))
    if chosen is None:
        missing = f"no valid file has `{name}` (`cni_default_network`)" if name else "no valid file"
        return Choice("CRI-O", "", "", missing, tuple(looks))
    why = f"`cni_default_network` is `{name}`" if name else "the first valid file in order of name"
    return Choice("CRI-O", chosen.network, chosen.file, why, tuple(looks))


def libcni(folder: Folder, name: str = "") -> Choice:
    """A network by its name, lists before single files; there is no default."""
    looks = [*_by_name(folder, LISTS, name)]
    if not any(look.verdict in ("fatal", "chosen") for look in looks):
        taken = {look.network for look in looks}
        looks += [_hide(look, taken) for look in _by_name(folder, SINGLES, name)]
    else:
        looks += [Look(file, "unread", "lists come first, and end the search") for file in folder.files(SINGLES)]
    looks.extend(folder.others((*LISTS, *SINGLES)))
    chosen = next((look for look in looks if look.verdict == "chosen"), None)
    if chosen:
        return Choice("libcni", name, chosen.file, f"the first file with the name `{name}`", tuple(looks))
    fatal = next((look for look in looks if look.verdict == "fatal"), None)
    if not name:
        return Choice("libcni", "", "", "it is asked for a network by name", tuple(looks))
    why = f"{fatal.file} is malformed, and ends the search" if fatal else f"no file has the name `{name}`"
    return Choice("libcni", "", "", why, tuple(looks))


def podman(folder: Folder, name: str = "") -> Choice:
    """The network `podman` or the one that is named, of its CNI backend; netavark does not read this folder."""
    looks = _load_valid(folder, LISTS, _for_podman)
    looks = [_chosen(look, name or PODMANS_DEFAULT) for look in looks]
    chosen = next((look for look in looks if look.verdict == "chosen"), None)
    looks.extend(folder.others(LISTS))
    if chosen:
        called = "is named" if name else "is called so by default"
        return Choice("Podman", chosen.network, chosen.file, f"the network {called} (CNI backend)", tuple(looks))
    if name and name != PODMANS_DEFAULT:
        return Choice("Podman", "", "", f"no valid file has `{name}` (CNI backend)", tuple(looks))
    why = "no valid file has its default, so it makes one in memory (CNI backend)"
    return Choice("Podman", PODMANS_DEFAULT, "", why, tuple(looks))


RULES = (containerd, crio, libcni, podman)


def _load_valid(folder: Folder, suffixes: Collection[str], accepted: Callable[[Found], Found]) -> list[Look]:
    """Files that can be used are known by their network's name, the first of each; others are skipped."""
    looks: list[Look] = []
    taken: dict[str, str] = {}
    for file in folder.files(suffixes):
        try:
            found = accepted(folder.read(file))
            problem = folder.objection(found)
        except CNIError as error:
            looks.append(Look(file, "skipped", error.msg))
            continue
        if problem:
            looks.append(Look(file, "skipped", problem, found.name))
        elif found.name in taken:
            looks.append(Look(file, "hidden", f"{taken[found.name]} has the same name", found.name))
        else:
            taken[found.name] = file
            looks.append(Look(file, "known", "", found.name))
    return looks


def _by_name(folder: Folder, suffixes: Collection[str], name: str) -> Iterator[Look]:
    """What a search meets: it ends at the name, and at a malformed file."""
    seen: dict[str, str] = {}
    end = ""
    for file in folder.files(suffixes):
        if end:
            yield Look(file, "unread", end)
            continue
        try:
            found = folder.read(file)
        except CNIError as error:
            end = f"{file} ends the search"
            yield Look(file, "fatal", error.msg)
            continue
        if name and found.name == name:
            end = "the name is found"
            yield Look(file, "chosen", _unusable(folder, found), name)
        elif found.name in seen:
            yield Look(file, "hidden", f"{seen[found.name]} has the same name", found.name)
        else:
            seen[found.name] = file
            yield Look(file, "known", "", found.name)


def _hide(look: Look, taken: Collection[str]) -> Look:
    hidden = look.verdict == "known" and look.network in taken
    return replace(look, verdict="hidden", why="a list has the same name") if hidden else look


def _chosen(look: Look, name: str) -> Look:
    return replace(look, verdict="chosen") if look.verdict == "known" and look.network == name else look


def _unusable(folder: Folder, found: Found) -> str:
    """Why every ADD fails, where it does; those who load without asking do not see it."""
    try:
        names.check_network(found.name)
        problem = folder.objection(found)
    except CNIError as error:
        problem = error.msg
    return f"every ADD fails: {problem}" if problem else ""


def _nothing(suffixes: Iterable[str]) -> str:
    return f"no file with {' '.join(suffixes)}"


def _for_podman(found: Found) -> Found:
    """Podman makes its own description of a network, and takes none that it cannot describe."""
    names.check_network(found.name)
    config = Config(found.first)
    if found.types[0] in ("bridge", "macvlan", "ipvlan") and config.mapping("ipam").text("type") == "host-local":
        for group in config.mapping("ipam").sequence("ranges"):
            for one in Config({"range": group}).mappings("range"):
                _check_range(Config(one.raw))
    return found


def _check_range(given: Config) -> None:
    try:
        ipaddress.ip_network(given.text("subnet"), strict=False)
        for key in ("gateway", "rangeStart", "rangeEnd"):
            given.parsed(key, ipaddress.ip_address, "an address")
    except ValueError:
        raise given.error("subnet", "must be a subnet") from None


def _head(raw: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Name, version and whether only inlined plugins count, as libcni's NetworkConfFromBytes takes them."""
    if "name" not in raw:
        raise CNIError(INVALID_CONFIG, "no `name`")
    for key in ("name", "cniVersion"):
        if not isinstance(raw.get(key, ""), str):
            raise CNIError(INVALID_CONFIG, f"`{key}` must be text")
    version = str(raw.get("cniVersion", ""))
    if "cniVersions" in raw:
        version = versions.negotiate(version, Config(raw).texts("cniVersions"))
    inlined = [_switch(raw, key) for key in ("disableCheck", "disableGC", "loadOnlyInlinedPlugins")][-1]
    return raw["name"], version, inlined


def _switch(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key, False)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise CNIError(INVALID_CONFIG, f"`{key}` must be true or false")
    return value


def _plugins(raw: Mapping[str, Any], *, only_inlined: bool) -> list[Any]:
    if "plugins" not in raw:
        if only_inlined:
            raise CNIError(INVALID_CONFIG, "`loadOnlyInlinedPlugins` is true, and there is no `plugins`")
        return []
    plugins = raw["plugins"]
    if not isinstance(plugins, list):
        raise CNIError(INVALID_CONFIG, "`plugins` must be a list")
    if not plugins:
        raise CNIError(INVALID_CONFIG, "`plugins` is empty")
    return plugins


def _single(name: str, content: bytes) -> Found:
    """A single configuration as a list of one."""
    plugin = _plugin(content)
    network, version = plugin.text("name"), plugin.text("cniVersion")
    return Found(name, network, version, (plugin.text("type"),), plugin.raw)


def _plugin(content: bytes) -> Config:
    """One plugin's object; its keys are matched without regard to case, as Go decodes into a struct."""
    config = Config(_object(content))
    for key in ("cniVersion", "name", "type"):
        config.text(key)
    capabilities = config.mapping("capabilities")
    for key in capabilities:
        capabilities.boolean(key)
    config.mapping("ipam").text("type")
    config.mapping("prevResult")
    dns = config.mapping("dns")
    dns.text("domain")
    for key in ("nameservers", "search", "options"):
        dns.texts(key)
    if not config.text("type"):
        raise CNIError(INVALID_CONFIG, "no `type`")
    return config


def _object(content: bytes) -> dict[str, Any]:
    """An object; `null` is an empty one, as in Go."""
    with suppress(CNIError):
        if decode(content) is None:
            return {}
    return decode_object(content)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CNIError(UNDECODABLE, f"cannot read it: {error.strerror}") from error


def _suffix(name: str) -> str:
    """Go's filepath.Ext: from the last dot on, of `.conf` all of it."""
    return name[name.rfind(".") :] if "." in name else ""
