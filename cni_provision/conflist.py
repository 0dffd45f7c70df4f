"""What a network configuration list must look like: the specification's section 1, and its canonical text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cni_provision.cni.versions import ALL_VERSIONS, at_least
from cni_provision.conflist_plugins import RECORDS, KnownPlugin, plugin
from cni_provision.conflist_rules import chain_problems, rules, without_ranges
from cni_provision.conflist_shape import Problem, record_problems, shown
from cni_provision.inventory.model import Path, Value

FIRST_WITH_CHAINS = "0.3.0"  # prevResult came with it
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
SWITCHES = ("disableCheck", "disableGC", "loadOnlyInlinedPlugins")
RESERVED = ("runtimeConfig", "prevResult")
OF_THE_LIST = ("name", "cniVersion")


def canonical(document: Mapping[str, Any]) -> str:
    """The one text of a conflist: two spaces, `type` first and other keys sorted, a newline at the end."""
    return json.dumps(_ordered(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _ordered(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: (key != "type", key))}
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def plugin_types(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Every executable that the list needs, delegated IPAM plugins too, in order, each once."""
    types = []
    for item in document.get("plugins", ()):
        types.append(item["type"])
        ipam = item.get("ipam")
        if isinstance(ipam, Mapping) and ipam.get("type"):
            types.append(ipam["type"])
    return tuple(dict.fromkeys(types))


def check(document: Value, foreign: Collection[str] = ()) -> list[Problem]:
    """Every problem of a conflist. `foreign` are types whose configuration is not ours to judge."""
    if not isinstance(document, Mapping):
        return [Problem((), f"a conflist is a mapping, not {shown(document)}")]
    found = [*_head(document), *_list(document)]
    if not found:
        found = [*_plugins(document["plugins"], foreign), *_versions(document, foreign)]
    return found


def _head(document: Mapping[str, Any]) -> Iterator[Problem]:
    """`name`, `cniVersion`, `cniVersions` and the switches."""
    name = document.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield Problem(
            ("name",),
            f"{shown(name)} is not a network name",
            "start with a letter or digit, go on with letters, digits, `_`, `.` and `-`",
        )
    versions: list[tuple[Path, Value]] = [(("cniVersion",), document.get("cniVersion"))]
    listed = document.get("cniVersions", [])
    if not isinstance(listed, list):
        yield Problem(("cniVersions",), f"`cniVersions` must be a list, not {shown(listed)}")
        listed = []
    versions += [(("cniVersions", index), item) for index, item in enumerate(listed)]
    for path, version in versions:
        if version not in ALL_VERSIONS:
            yield Problem(path, f"{shown(version)} is not a version of the specification", f"one of {_known()}")
    for key in SWITCHES:
        value = document.get(key, False)
        if not isinstance(value, bool) and str(value).lower() not in ("true", "false"):
            yield Problem((key,), f"`{key}` must be `true` or `false`, not {shown(value)}")


def _known() -> str:
    return ", ".join(f"`{version}`" for version in ALL_VERSIONS)


def _list(document: Mapping[str, Any]) -> Iterator[Problem]:
    """`plugins` itself and the type of each."""
    listed = document.get("plugins")
    if not isinstance(listed, list) or not listed:
        yield Problem(("plugins",), f"`plugins` must be a list of at least one plugin, not {shown(listed)}")
        return
    for index, item in enumerate(listed):
        if not isinstance(item, Mapping):
            yield Problem(("plugins", index), f"a plugin is a mapping with a `type`, not {shown(item)}")
            continue
        yield from (problem.below(("plugins", index)) for problem in _type(item, "a plugin"))
        ipam = item.get("ipam")
        if isinstance(ipam, Mapping) and ipam:
            yield from (problem.below(("plugins", index, "ipam")) for problem in _type(ipam, "`ipam`"))
        capabilities = item.get("capabilities", {})
        wrong = not isinstance(capabilities, Mapping) or not all(isinstance(v, bool) for v in capabilities.values())
        if wrong:
            message = f"`capabilities` must map names to `true` or `false`, not {shown(capabilities)}"
            yield Problem(("plugins", index, "capabilities"), message)


def _type(item: Mapping[str, Any], what: str) -> Iterator[Problem]:
    name = item.get("type")
    if "type" not in item:
        folded = [key for key in item if key.lower() == "type"]
        hint = f"write `type` for `{folded[0]}`: runtimes read this key as it stands" if folded else None
        yield Problem((), f"{what} needs a `type`, the name of an executable", hint)
    elif not isinstance(name, str) or not name or "/" in name or name in (".", "..") or name.split() != [name]:
        yield Problem(("type",), f"{shown(name)} is not the name of an executable", "no folder, no space")


def _plugins(listed: list[Mapping[str, Any]], foreign: Collection[str]) -> Iterator[Problem]:
    for index, item in enumerate(listed):
        below = ("plugins", index)
        yield from (problem.below(below) for problem in _reserved(item))
        yield from (problem.below(below) for problem in _configuration(item, index, foreign))
        ipam = item.get("ipam")
        if isinstance(ipam, Mapping) and ipam and ipam["type"] not in foreign:
            yield from (problem.below((*below, "ipam")) for problem in _ipam(ipam))
            if ipam["type"] == "host-local" and without_ranges(item):
                yield Problem((*below, "ipam"), "plugin `host-local` needs `ranges`, or `subnet`")


def _reserved(item: Mapping[str, Any]) -> Iterator[Problem]:
    for key in item:
        if key in RESERVED or key.startswith("cni.dev/"):
            message = f"`{key}` is reserved: the runtime writes it for every call"
            yield Problem((key,), message, "leave it out", at_key=True, severity="warning")


def _configuration(item: Mapping[str, Any], index: int, foreign: Collection[str]) -> Iterator[Problem]:
    """The configuration of one plugin of the chain, if we know the plugin."""
    name = item["type"]
    known = None if name in foreign else plugin(name)
    if known is None:
        return
    if known.kind == "ipam":
        yield Problem(("type",), f"`{name}` hands out addresses: it stands under `ipam` of another plugin")
        return
    if known.kind == "chained" and index == 0:
        yield Problem(("type",), f"`{name}` works on another plugin's result: it cannot be the first of a list")
    yield from _keys(known, item)
    yield from chain_problems(known, item, index)


def _ipam(ipam: Mapping[str, Any]) -> Iterator[Problem]:
    known = plugin(ipam["type"])
    if known is None:
        return
    if known.kind != "ipam":
        yield Problem(("type",), f"`{known.name}` does not hand out addresses: it cannot stand under `ipam`")
        return
    yield from _keys(known, ipam)


def _keys(known: KnownPlugin, item: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys and values by the plugin's table; its further rules only where these are right."""
    own = {key: value for key, value in item.items() if key not in RESERVED and not key.startswith("cni.dev/")}
    what = f"plugin `{known.name}`"
    found = list(record_problems(known.fields, own, what, RECORDS))
    yield from (_of_the_list(problem) for problem in found)
    if not found:
        folded = {key.lower(): value for key, value in own.items()}
        spelled = {key.lower(): key for key in own}
        for problem in rules(known.name, folded, what):
            head = (spelled.get(str(problem.path[0]), problem.path[0]), *problem.path[1:]) if problem.path else ()
            yield Problem(head, problem.message, problem.hint, problem.at_key, problem.severity)


def _of_the_list(problem: Problem) -> Problem:
    if problem.at_key and len(problem.path) == 1 and problem.path[0] in OF_THE_LIST:
        return Problem(problem.path, problem.message, "it belongs to the list, not to a plugin", at_key=True)
    return problem


def _versions(document: Mapping[str, Any], foreign: Collection[str]) -> Iterator[Problem]:
    """Whether the list's version is new enough for chains and for each plugin that we know."""
    version = document["cniVersion"]
    if len(document["plugins"]) > 1 and not at_least(version, FIRST_WITH_CHAINS):
        yield Problem(
            ("cniVersion",), f"lists of several plugins need `cniVersion` {FIRST_WITH_CHAINS}, not {version}"
        )
    for name in plugin_types(document):
        known = None if name in foreign else plugin(name)
        if known is not None and not at_least(version, known.oldest):
            yield Problem(("cniVersion",), f"plugin `{name}` speaks {known.oldest} and newer, not {version}")
