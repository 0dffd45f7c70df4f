"""A node's declared variables to `Declarations`: merged, decoded, checked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cni_provision.inventory import kinds
from cni_provision.inventory.addresses import Subnet, subnets_of
from cni_provision.inventory.complaints import Complaints, did_you_mean
from cni_provision.inventory.located import BROKEN, OMIT, Located
from cni_provision.inventory.merge import SEPARATOR, merge, name_of
from cni_provision.inventory.model import Declarations, Network, Path, PluginSource
from cni_provision.inventory.overlap import on_node
from cni_provision.inventory.schema import Decoder, fields_of
from cni_provision.inventory.scope import Scope
from cni_provision.inventory.source import is_declaration

PREFIX = "cni_"
NAMES = tuple(PREFIX + name for name in fields_of(Declarations))
BUILTIN = (PluginSource("ours", "builtin"),)
MEANT = {
    "builtin": {"plugins"},
    "release": {"plugins", "url", "version", "checksums"},
    "file": {"plugins", "path", "checksum"},
}
NEEDED = {"builtin": (), "release": ("url", "checksums"), "file": ("path",)}
INTERFACE_PARAMETERS = ("bridge", "master")

Pairs = list[tuple[Any, Located]]


@dataclass
class DeclarationReader:
    """Reads the declarations of one node after the other; what nodes share is looked at once."""

    complaints: Complaints
    decoder: Decoder = field(init=False)
    alone: dict[int, tuple[Located, tuple[Subnet, ...]]] = field(default_factory=dict)
    merges: dict[tuple[int, ...], tuple[list[Located], Located]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.decoder = Decoder(self.complaints)

    def read(self, scope: Scope) -> tuple[Declarations, tuple[Subnet, ...]]:
        """What is declared for a node, and the subnets of its networks."""
        self.complaints.node, self.complaints.explain = scope.name, scope.related
        self.warn_of_strangers(scope)
        merged = {name: self.merged(scope, name) for name in fields_of(Declarations)}
        secrets = self.secrets(merged)
        pairs = {name: self.pairs(merged[name], name) for name in ("networks", "plugins")}
        values: dict[str, Any] = {name: self.value(merged[name], name) for name in merged if name not in pairs}
        values["networks"] = tuple(network for network, _ in pairs["networks"] or ())
        values["plugins"] = self.sources(scope, pairs["plugins"]) if pairs["plugins"] is not None else BUILTIN
        given = {name: value for name, value in values.items() if value is not None}
        declarations = Declarations(**given, secrets=secrets)
        self.check_verified(declarations, scope)
        self.check_pruned(declarations, scope)
        return declarations, self.networks(scope.name, pairs["networks"] or [])

    def secrets(self, merged: Mapping[str, Located | None]) -> frozenset[Path]:
        """The paths of all that is secret, the field's name first; no mistake shows what stands there."""
        found = [
            ((name, *path), item) for name, located in merged.items() if located for path, item in located.secrets()
        ]
        for _, item in found:
            self.complaints.hiding.add(item.plain)
        return frozenset(path for path, _ in found)

    def pairs(self, merged: Located | None, name: str) -> Pairs | None:
        """The items of a declared list with where they stand, None if it is not declared."""
        if merged is None:
            return None
        return self.decoder.items(merged, fields_of(Declarations)[name].shape, f"`{PREFIX}{name}`")

    def value(self, merged: Located | None, name: str) -> Any:
        if merged is None:
            return None
        return self.decoder.decode(merged, fields_of(Declarations)[name].shape, f"`{PREFIX}{name}`")

    def merged(self, scope: Scope, name: str) -> Located | None:
        """The variable with its suffixed ones on top, evaluated; None if there is none of them."""
        layers = [layer for key in variables_of(scope, name) if (layer := self.layer(scope, key))]
        if not layers:
            return None
        if not all(layer.shared for layer in layers):
            return merge(layers)
        key = tuple(map(id, layers))
        if key not in self.merges:
            merged = merge(layers)
            merged.shared = True
            self.merges[key] = (layers, merged)
        return self.merges[key][1]

    def layer(self, scope: Scope, key: str) -> Located | None:
        """One variable, evaluated."""
        layer = scope.settle(scope.sealed.variables[key], self.complaints.caught)
        self.check_duplicates(layer)
        return None if layer.value is None or layer.value in (OMIT, BROKEN) else layer

    def check_duplicates(self, layer: Located) -> None:
        """Two items of one name in one list."""
        seen: dict[object, Located] = {}
        for item in layer.value if isinstance(layer.value, list) else ():
            name = name_of(item)
            if name in seen:
                related = ((seen[name].place, "first here"),)
                self.complaints.error(f"`{name}` is declared twice", item.get("name"), related=related)
            if name is not None:
                seen.setdefault(name, item)

    def networks(self, node: str, pairs: Pairs) -> tuple[Subnet, ...]:
        """Each network alone, then all of a node side by side."""
        subnets = [subnet for network, item in pairs for subnet in self.network(network, item)]
        files: dict[str, Located] = {}
        for network, item in pairs:
            other = files.setdefault(network.file_name, item)
            if other is not item and name_of(other) != name_of(item):
                self.complaints.error(
                    f"the networks `{name_of(other)}` and `{network.name}` have one file `{network.file_name}`",
                    item,
                    "give one of them another `file` or `order`",
                    related=((other.place, "the other one"),),
                )
        on_node(node, subnets, self.complaints)
        return tuple(subnets)

    def network(self, network: Network, item: Located) -> tuple[Subnet, ...]:
        if item.shared and id(item) in self.alone:
            return self.alone[id(item)][1]
        check_network(network, item, self.complaints)
        subnets = subnets_of(network, item, self.complaints)
        if item.shared:
            self.alone[id(item)] = (item, subnets)
        return subnets

    def sources(self, scope: Scope, pairs: Pairs) -> tuple[PluginSource, ...]:
        """Plugin sources with absolute paths."""
        stated = scope.sealed.variables.get("inventory_dir")
        listed = stated and stated.value == "None"  # hosts of `-i host1,host2` stand in no file
        folder = str(stated.value) if stated and not listed else os.getcwd()
        for source, item in pairs:
            check_source(source, item, self.complaints)
        return tuple(anchored(source, folder) for source, _ in pairs)

    def check_verified(self, declarations: Declarations, scope: Scope) -> None:
        """Networks to verify are declared."""
        declared = self.merged(scope, "networks") if declarations.verify.networks else None
        known = [name_of(item) for item in declared.value] if declared and isinstance(declared.value, list) else []
        for name in declarations.verify.networks:
            if name not in known:
                merged = self.merged(scope, "verify")
                listed = merged.get("networks") if merged else None
                at = next((item for item in listed.value if item.value == name), listed) if listed else merged
                self.complaints.error(
                    f"there is no network `{name}` to verify", at, did_you_mean(name, map(str, known))
                )

    def check_pruned(self, declarations: Declarations, scope: Scope) -> None:
        """What is removed by a pattern stands in a folder of runtimes: `/etc/*` would take the node with it."""
        runtime = declarations.runtime
        for pattern in declarations.prune:
            folder = os.path.normpath(os.path.dirname(pattern))
            if pattern.startswith("/") and folder not in (runtime.conf_dir, runtime.bin_dir) and not is_cni(folder):
                merged = self.merged(scope, "prune")
                at = next((item for item in merged.value if item.value == pattern), merged) if merged else None
                hint = f"name what is in `{runtime.conf_dir}` or `{runtime.bin_dir}`, or set `cni_runtime`"
                self.complaints.error(f"`{pattern}` is outside of the folders of runtimes", at, hint)

    def warn_of_strangers(self, scope: Scope) -> None:
        """A variable that is nearly one of ours."""
        for name, located in scope.sealed.variables.items():
            if name.startswith("cni") and not is_declaration(name):
                hint = did_you_mean(name.partition(SEPARATOR)[0], NAMES, cutoff=0.85)
                if hint:
                    self.complaints.warning(
                        f"`{name}` is not a declaration of ours and is ignored", located.spot, hint
                    )


def variables_of(scope: Scope, name: str) -> list[str]:
    """The variable and its suffixed ones, in the order in which they are merged."""
    plain = PREFIX + name
    suffixed = sorted(key for key in scope.sealed.variables if key.startswith(plain + SEPARATOR))
    return ([plain] if plain in scope.sealed.variables else []) + suffixed


def is_cni(folder: str) -> bool:
    """Whether a folder is some runtime's by its name: `/etc/kubernetes/cni`, `/etc/rkt/net.d`."""
    return any("cni" in part or part.endswith("net.d") for part in folder.split("/"))


def check_network(network: Network, item: Located, complaints: Complaints) -> None:
    """What of a network contradicts itself, and the names in it."""
    if item.value.keys() - fields_of(Network).keys():
        return  # a key is misspelt: what seems to be missing may be there
    template = item.get("template")
    literal = template is None or template.value in (None, "raw")
    name = f"network `{network.name}`"
    if literal and not item.get("plugins"):
        hint = "add `template: bridge`, or `plugins:` with the plugins of the conflist"
        complaints.error(f"{name} has neither `template` nor `plugins`", item, hint)
    if not literal and item.get("plugins"):
        hint = "chained plugins are parameters of a template (`portmap: true`); a literal list has no template"
        complaints.error(f"{name} has both `template` and `plugins`", item.key_spot("plugins"), hint)
    if literal and network.parameters:
        message = f"{name} has `parameters` and no template that takes them"
        complaints.error(message, item.key_spot("parameters"), "add `template:`")
    plugins = item.get("plugins")
    for plugin in plugins.value if plugins and isinstance(plugins.value, list) else ():
        check_plugin(plugin, complaints)
    parameters = item.get("parameters")
    check_interfaces(parameters, complaints)


def check_plugin(plugin: Located, complaints: Complaints) -> None:
    """A literal plugin has a type, and its IPAM plugin too."""
    check_interfaces(plugin, complaints)
    for holder, what in ((plugin, "a plugin"), (plugin.get("ipam"), "the `ipam` of a plugin")):
        if holder is None or not isinstance(holder.value, dict) or (what != "a plugin" and not holder.value):
            continue
        kind = holder.get("type")
        if kind is None:
            complaints.error(f"{what} has no `type`", holder, "add `type: …`, the name of its executable")
        else:
            judge(kind, kinds.PLUGIN_NAME, complaints)


def check_interfaces(holder: Located | None, complaints: Complaints) -> None:
    for name in INTERFACE_PARAMETERS:
        item = holder.get(name) if holder else None
        if item is not None and item.value not in (None, BROKEN):
            judge(item, kinds.INTERFACE_NAME, complaints)


def judge(item: Located, kind: kinds.Kind, complaints: Complaints) -> None:
    complaint = kind.complaint(item.value) if item.value is not BROKEN else None
    if complaint:
        complaints.error(complaint, item, kind.hint(), rule=type(kind).__name__)


def check_source(source: PluginSource, item: Located, complaints: Complaints) -> None:
    """Each kind of source has keys that it needs and keys that mean nothing to it."""
    what = f"plugin source `{source.name}`"
    for key in NEEDED.get(source.source, ()):
        if not getattr(source, key):
            complaints.error(f"{what} (`{source.source}`) has no `{key}`", item, f"add `{key}: …`")
    for key in item.value:
        stray = key not in MEANT.get(source.source, {key}) | {"name", "source"}
        if stray and any(key == known.name for known in dataclasses.fields(PluginSource)):
            complaints.error(f"`{key}` means nothing to a source of kind `{source.source}`", item.key_spot(key))


def anchored(source: PluginSource, folder: str) -> PluginSource:
    """Relative paths start at the inventory's folder."""
    path = source.path and os.path.join(folder, os.path.expanduser(source.path))
    local = source.url and "://" not in source.url
    url = os.path.join(folder, os.path.expanduser(source.url)) if source.url and local else source.url
    return dataclasses.replace(source, path=path, url=url) if path or local else source
