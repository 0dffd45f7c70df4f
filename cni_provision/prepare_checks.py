"""What must fit together on a node: conflists, the executables that they name, and the versions these speak. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cni_provision import conflist_plugins
from cni_provision.artifact import Artifact
from cni_provision.cni.versions import ALL_VERSIONS, at_least
from cni_provision.conflist_shape import did_you_mean
from cni_provision.errors import Diagnostic, Place
from cni_provision.inventory.model import Node, PluginSource
from cni_provision.render import Conflist
from cni_provision.render_explain import place_of

REFERENCE = "containernetworking/plugins"
# first release of the reference plugins → the newest specification version that it speaks
REFERENCE_SPEAKS = (((1, 6), "1.1.0"), ((1, 0), "1.0.0"), ((0, 8), "0.4.0"), ((0, 0), "0.3.1"))
Builtin = Mapping[str, tuple[str, ...]]  # name → versions of the specification
RELEASE_NUMBER = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(frozen=True)
class Offer:
    """What a plugin source installs by name; no names: it is a release that was not looked into."""

    source: PluginSource
    names: tuple[str, ...]
    artifacts: tuple[Artifact, ...] = ()


def problems(
    node: Node, conflists: Sequence[Conflist], offers: Sequence[Offer], builtin: Builtin
) -> list[Diagnostic]:
    """Everything that does not fit on one node."""
    found = [
        *_known_builtin(offers, builtin),
        *_one_source_each(offers),
        *_installed(conflists, offers, builtin),
        *_spoken(conflists, offers, builtin),
    ]
    return [replace(diagnostic, node=node.name) for diagnostic in found]


def _known_builtin(offers: Sequence[Offer], builtin: Builtin) -> Iterator[Diagnostic]:
    for offer in offers:
        if offer.source.source == "builtin":
            for name in offer.source.plugins:
                if name not in builtin:
                    hint = did_you_mean(name, builtin) or f"there are {', '.join(f'`{one}`' for one in builtin)}"
                    yield Diagnostic(f"there is no builtin plugin `{name}`", offer.source.place, hint)


def _one_source_each(offers: Sequence[Offer]) -> Iterator[Diagnostic]:
    """Two sources that install one executable."""
    first: dict[str, PluginSource] = {}
    for offer in offers:
        for name in offer.names:
            other = first.setdefault(name, offer.source)
            if other is not offer.source:
                message = f"plugin `{name}` comes from two sources, `{other.name}` and `{offer.source.name}`"
                related = ((other.place, f"source `{other.name}`"),) if other.place else ()
                yield Diagnostic(message, offer.source.place, "narrow one of them with `plugins`", related=related)


def _installed(conflists: Sequence[Conflist], offers: Sequence[Offer], builtin: Builtin) -> Iterator[Diagnostic]:
    """Executables that a conflist names and no source installs."""
    if any(not offer.names for offer in offers if offer.source.source == "release"):
        return  # nobody looked into it
    names = [name for offer in offers for name in offer.names]
    for conflist in conflists:
        for name in conflist.types:
            if name not in names:
                message = f"network `{conflist.network}` needs the plugin `{name}`, which nothing installs"
                yield Diagnostic(message, _place_of_type(conflist, name), _hint(name, names, builtin))


def _hint(name: str, names: Sequence[str], builtin: Builtin) -> str:
    if name in builtin:
        return f"let a source `builtin` install it: add `{name}` to its `plugins`"
    if conflist_plugins.plugin(name):
        return f"add a source that has `{name}` to `cni_plugins`, such as a release of {REFERENCE}"
    return did_you_mean(name, names) or f"add a source that has `{name}` to `cni_plugins`"


def _place_of_type(conflist: Conflist, name: str) -> Place | None:
    """Where a literal list names the plugin, else where the network stands."""
    network = conflist.network_declaration
    for index, item in enumerate(network.plugins):
        ipam = item.get("ipam")
        if item.get("type") == name:
            return place_of(network, ("plugins", index, "type"))
        if isinstance(ipam, Mapping) and ipam.get("type") == name:
            return place_of(network, ("plugins", index, "ipam", "type"))
    return place_of(network, ("template",))


def _spoken(conflists: Sequence[Conflist], offers: Sequence[Offer], builtin: Builtin) -> Iterator[Diagnostic]:
    """Conflists in a version that one of their plugins does not speak."""
    speaks = {name: _versions(offer.source, name, builtin) for offer in offers for name in offer.names}
    for conflist in conflists:
        for name in conflist.types:
            versions = speaks.get(name, ALL_VERSIONS)
            if conflist.cni_version not in versions:
                source = next(offer.source for offer in offers if name in offer.names)
                has = f"network `{conflist.network}` has `cniVersion` {conflist.cni_version}"
                message = f"{has}, which the plugin `{name}` of `{source.name}` does not speak"
                related = ((source.place, f"source `{source.name}`"),) if source.place else ()
                place = place_of(conflist.network_declaration, ("cni_version",))
                yield Diagnostic(message, place, f"it speaks {', '.join(versions)}", related=related)


def _is_reference(source: PluginSource) -> bool:
    """Whether this is a release of the reference plugins, by its address or its tarball's usual name."""
    return REFERENCE in (source.url or "") or "cni-plugins-linux-" in (source.url or "")


def _versions(source: PluginSource, name: str, builtin: Builtin) -> tuple[str, ...]:
    """The versions that a plugin speaks; all of them where we do not know."""
    if source.source == "builtin":
        return builtin.get(name, ALL_VERSIONS)
    number = RELEASE_NUMBER.search(source.version or (source.url or "").rpartition("/")[2])
    if source.source == "file" or number is None or not _is_reference(source):
        return ALL_VERSIONS
    release, known = (int(number[1]), int(number[2])), conflist_plugins.plugin(name)
    if known is None:
        return ALL_VERSIONS
    newest = next(version for first, version in REFERENCE_SPEAKS if release >= first)
    return tuple(one for one in ALL_VERSIONS if at_least(newest, one) and at_least(one, known.oldest))
