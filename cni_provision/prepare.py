"""Everything before a node is touched: render all nodes, collect executables once, check the fleet as a whole."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cni_provision import artifact, prepare_checks
from cni_provision.artifact import Artifact, Blobs
from cni_provision.cni.versions import ALL_VERSIONS
from cni_provision.desired import SECRET, Desired, Installed, goal, installed
from cni_provision.errors import Diagnostic, Mistakes, UserError
from cni_provision.inventory.model import Inventory, Node, PluginSource
from cni_provision.node import bundle
from cni_provision.plan import File
from cni_provision.prepare_checks import Offer
from cni_provision.render import Conflist, Renderer, diagnostics, renderer


@dataclass(frozen=True)
class Prepared:
    """Each node's goal, the bytes behind all digests, and what is odd but not wrong."""

    desired: tuple[Desired, ...]
    blobs: Blobs
    warnings: tuple[Diagnostic, ...] = ()


def prepare(inventory: Inventory, cache_dir: Path | None = None) -> Prepared:
    """The goal of every node; downloads what is not in the cache. Raises `Mistakes` with all of a run."""
    rendered = _rendered(inventory)
    store = _Store(cache_dir or artifact.default_cache())
    offers = {
        node.name: [store.offer(source) for source in node.declarations.plugins] for node in _present(inventory)
    }
    _raise_all(inventory, rendered, offers, store.mistakes)
    goals = tuple(
        goal(node, rendered.conflists.get(node.name, ()), store.installed(node, offers.get(node.name, ())))
        for node in inventory.nodes
    )
    for text in {digest: text for each in goals for digest, text in each.texts.items()}.values():
        store.blobs.add(text.encode())
    return Prepared(goals, store.blobs, rendered.warnings)


def check(inventory: Inventory) -> tuple[Diagnostic, ...]:
    """The same mistakes without collecting executables, but those on this machine; answers the warnings.

    A release elsewhere that does not name its plugins is not looked into: what it might hold is taken as installed.
    """
    rendered, store = _rendered(inventory), _Store(artifact.default_cache())
    offers = {
        node.name: [
            store.offer(source) if is_here(source) else Offer(source, artifact.names_of(source))
            for source in node.declarations.plugins
        ]
        for node in _present(inventory)
    }
    _raise_all(inventory, rendered, offers, store.mistakes)
    return rendered.warnings


def is_here(source: PluginSource) -> bool:
    """Whether a source is files on this machine, whose checksums cost no download."""
    return source.source == "file" or bool(source.url and "://" not in source.url)


def write(prepared: Prepared, folder: Path) -> tuple[Path, ...]:
    """The small files of every node below `folder/<node>`; answers what was written."""
    written = []
    for each in prepared.desired:
        for state in each.states.values():
            if isinstance(state, File) and state.digest in each.texts:
                target = folder / each.node.name / state.path.lstrip("/")
                _write(target, each.texts[state.digest], state.mode)
                written.append(target)
    return tuple(written)


def _write(target: Path, text: str, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if mode == SECRET:
            os.fchmod(descriptor, mode)
        file.write(text)


@dataclass
class _Rendered:
    """Every node's conflists by its name, and what was found on the way."""

    conflists: dict[str, tuple[Conflist, ...]] = field(default_factory=dict)
    mistakes: list[Diagnostic] = field(default_factory=list)
    warnings: tuple[Diagnostic, ...] = ()


def _present(inventory: Inventory) -> list[Node]:
    return [node for node in inventory.nodes if node.declarations.state != "absent"]


def _rendered(inventory: Inventory) -> _Rendered:
    nodes = _present(inventory)
    drawing, found = renderer(nodes, inventory.hiding), _Rendered()
    warnings: list[Diagnostic] = []
    for node in nodes:
        _render_node(node, drawing, found, warnings)
    found.warnings = inventory.hiding.all_of(once(warnings))
    return found


def _render_node(node: Node, drawing: Renderer, found: _Rendered, warnings: list[Diagnostic]) -> None:
    foreign = frozenset(artifact.file_name(source) for source in node.declarations.plugins if source.source == "file")
    pairs = [(network, drawing.rendering(network, node, foreign)) for network in node.declarations.networks]
    found.mistakes += diagnostics(pairs, node.name)
    warnings += diagnostics(pairs, node.name, "warning")
    made = (rendering.conflist(network) for network, rendering in pairs)
    found.conflists[node.name] = tuple(conflist for conflist in made if conflist)


class _Store:
    """Collects each plugin source once, however many nodes declare it."""

    def __init__(self, cache_dir: Path) -> None:
        self.blobs = Blobs()
        self.mistakes: list[Diagnostic] = []
        self._cache_dir = cache_dir
        self._known: dict[str, Offer] = {}
        self._servers: tuple[Artifact, ...] | None = None
        self._installed: dict[tuple[object, ...], Installed] = {}

    def offer(self, source: PluginSource) -> Offer:
        """What a source installs; what is wrong with it is noted once."""
        key = repr(source)
        if key not in self._known:
            self._known[key] = self._collect(source)
        return self._known[key]

    def installed(self, node: Node, offers: Sequence[Offer]) -> Installed:
        """What a node has in common with all that have its runtime and its sources; made once."""
        runtime = node.declarations.runtime
        key = (runtime, *map(id, offers))
        if key not in self._installed:
            program = self.blobs.add(bundle.recovery())
            self._installed[key] = installed(runtime, _artifacts(offers), self.servers(offers), program)
        return self._installed[key]

    def servers(self, offers: Iterable[Offer]) -> tuple[Artifact, ...]:
        """The warm server for a node that has these: of our own plugins, where one of them has a launcher."""
        ours = [one for offer in offers if offer.source.source == "builtin" for one in offer.artifacts]
        if not any(one.architecture for one in ours):
            return ()
        if self._servers is None:
            self._servers = artifact.servers(self.blobs, self._cache_dir)
        return self._servers

    def _collect(self, source: PluginSource) -> Offer:
        try:
            found = artifact.collect(source, self.blobs, self._cache_dir)
        except UserError as error:
            place = error.place or source.place
            related = ((source.place, f"plugin source `{source.name}`"),) if error.place and source.place else ()
            self.mistakes.append(Diagnostic(error.message, place, error.hint, related=related))
            return Offer(source, artifact.names_of(source))
        return Offer(source, tuple(dict.fromkeys(one.name for one in found)), found)


def _artifacts(offers: Iterable[Offer]) -> Iterator[Artifact]:
    return (one for offer in offers for one in offer.artifacts)


def _raise_all(
    inventory: Inventory, rendered: _Rendered, offers: Mapping[str, list[Offer]], others: Iterable[Diagnostic]
) -> None:
    """Raise `Mistakes` if anything was found, here or by the checks of each node."""
    mistakes, builtin = [*rendered.mistakes, *others], builtin_versions()
    for node in _present(inventory):
        mistakes += prepare_checks.problems(node, rendered.conflists[node.name], offers[node.name], builtin)
    if mistakes:
        raise Mistakes(inventory.hiding.all_of(once(mistakes)))


def builtin_versions() -> dict[str, tuple[str, ...]]:
    """The versions that each of our plugins speaks; only one that restricts them is loaded to ask it."""
    return {
        name: _declared_versions(file) if "versions=" in file.read_text(encoding="utf-8") else ALL_VERSIONS
        for name, file in artifact.builtin_plugins().items()
    }


def _declared_versions(file: Path) -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location(f"cni_provision_plugin_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module.PLUGIN.versions)


def once(diagnostics_found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each mistake once, by place; the node is named where only one node has it."""
    nodes: dict[Diagnostic, set[str | None]] = {}
    for found in diagnostics_found:
        nodes.setdefault(replace(found, node=None), set()).add(found.node)
    named = (replace(found, node=next(iter(on))) if len(on) == 1 else found for found, on in nodes.items())
    return tuple(sorted(named, key=lambda found: (found.place is None, found.place or ())))
