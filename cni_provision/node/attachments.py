"""Containers that are attached on this node, by libcni's result cache, and what of a proposal they need."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from cni_provision.cni.cache import Cached, ResultCache
from cni_provision.cni.config import load
from cni_provision.cni.types import CNIError
from cni_provision.node.proposal import Proposal
from cni_provision.node.protocol import NodeFinding, Request
from cni_provision.plan import Change, File

HINT = "stop these containers first, or use `--force`"


def needing(request: Request, proposal: Proposal) -> Iterator[NodeFinding]:
    """What would go although an attachment still needs it, for its DEL: conflists of its network, plugins in it."""
    networks = {name for change in proposal.changes for name in _lost_network(change)}
    networks -= {_name(text) for text in _wanted_conflists(request, proposal)}
    plugins = {os.path.basename(change.key) for change in proposal.changes if _goes(change, "plugin")}
    if not networks and not plugins:
        return
    attached = live(request.cache_dir)
    by_network = Counter(each.network for each in attached)
    by_plugin = Counter(plugin for each in attached for plugin in plugins_of(each))
    for name in sorted(networks & by_network.keys()):
        yield NodeFinding("attached", f"{_containers(by_network[name])} attached to network `{name}`", HINT)
    for name in sorted(plugins & by_plugin.keys()):
        yield NodeFinding("attached", f"{_containers(by_plugin[name])} attached through plugin `{name}`", HINT)


def live(cache_dir: str) -> list[Cached]:
    """The cached attachments whose namespace is there; one that names none counts as there."""
    cache = ResultCache(f"{cache_dir}/results", f"{cache_dir}/cni-provision")
    with contextlib.suppress(CNIError):
        return [each for each in cache.attachments() if _is_there(each.attachment.netns)]
    return []


def plugins_of(cached: Cached) -> set[str]:
    """The executables of an attachment's chain, IPAM included; none where its configuration cannot be read."""
    with contextlib.suppress(CNIError):
        chain = load(cached.config).plugins
        return {name for plugin in chain for name in (plugin.type, plugin.ipam_type) if name}
    return set()


def _is_there(netns: str) -> bool:
    return not netns or os.path.exists(netns)


def _goes(change: Change, kind: str) -> bool:
    return change.kind == kind and change.after is None


def _lost_network(change: Change) -> list[str]:
    """The network of a conflist that is removed or replaced."""
    if change.kind != "conflist" or not isinstance(change.before, File):
        return []
    return [_name(text) for text in _read(change.before.path)]


def _wanted_conflists(request: Request, proposal: Proposal) -> Iterator[str]:
    """The texts of all conflists that will be there: as sent, or as they are here already."""
    for state in proposal.goal.desired.values():
        if isinstance(state, File) and state.kind == "conflist":
            yield from [request.texts[state.digest]] if state.digest in request.texts else _read(state.path)


def _read(path: str) -> Iterable[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
        return [file.read()]
    return []


def _name(text: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(text).get("name", ""))
    return ""


def _containers(count: int) -> str:
    return f"{count} container{'s are' if count > 1 else ' is'}"
