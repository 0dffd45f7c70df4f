"""What an inventory declares, after reading, merging and checking: plain values, each with its place.

`Places` maps the path of a value below a node's variables (("cni_networks", 0, "parameters", "mtu")) to
where its winner stands; `Place`s of templated values are those of the template text. The declared dataclasses
carry, in `Annotated`, the documentation and the kind of each field: decoder and JSON Schema read them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NewType

from cni_provision.errors import Diagnostic, Place
from cni_provision.inventory import kinds
from cni_provision.inventory.hiding import Hiding

Value = Any  # a YAML value: str, int, float, bool, None, list, dict
Path = tuple[str | int, ...]
Places = Mapping[Path, Place]
ScalarText = NewType("ScalarText", str)  # text that may be written as a number
INTERNAL = {"internal": True}  # metadata of fields that nobody declares


@dataclass(frozen=True)
class Connection:
    """How a node is reached; names and meanings are Ansible's connection variables.

    `kind` is ssh, local, lab or memory. None means that the user's ssh configuration decides.
    Passwords come from the command line only and are never part of this.
    """

    kind: str = "ssh"
    host: str = ""
    port: int | None = None
    user: str | None = None
    private_key: str | None = None
    ssh_args: tuple[str, ...] = ()
    become: bool = False
    become_method: str = "sudo"
    become_user: str = "root"
    become_flags: str | None = None
    python: str | None = None
    timeout: int | None = None


@dataclass(frozen=True)
class Network:
    """One declared network: a template with parameters, or a literal plugin list."""

    name: Annotated[str, "the network's name, unique on its node", kinds.NETWORK_NAME]
    order: Annotated[int, "runtimes read conflists by file name, and this number starts it", kinds.Between(0, 99)] = (
        50
    )
    template: Annotated[str | None, "the template in `templates/` that makes the conflist", kinds.TEMPLATE_NAME] = (
        None
    )
    parameters: Annotated[Mapping[str, Value], "the template's parameters"] = field(default_factory=dict)
    plugins: Annotated[
        tuple[Mapping[str, Value], ...], "the plugins of the conflist, literally (no `template`, or `raw`)"
    ] = ()
    cni_version: Annotated[
        str,
        "the version of the specification that the conflist is written in",
        kinds.OneOf("a version of the CNI specification", kinds.CNI_VERSIONS),
    ] = "1.0.0"
    file: Annotated[str | None, "the conflist's file name, `<order>-<name>.conflist` if absent", kinds.FILE_NAME] = (
        None
    )
    place: Place | None = field(default=None, metadata=INTERNAL)
    places: Places = field(default_factory=dict, metadata=INTERNAL)  # of what is below the network, relative to it
    key_places: Places = field(default_factory=dict, metadata=INTERNAL)  # of the key that each path ends with
    secrets: frozenset[Path] = field(default=frozenset(), metadata=INTERNAL)  # paths of secret values below it

    @property
    def file_name(self) -> str:
        """The conflist's name in the runtime's configuration folder."""
        return self.file or f"{self.order:02d}-{self.name}.conflist"


@dataclass(frozen=True)
class PluginSource:
    """Where plugin executables come from; `plugins` narrows to some names, empty means all.

    Paths (`path`, a local `url`) are absolute: relative ones start at the inventory's folder.
    """

    name: Annotated[str, "the name of this source", kinds.WORD]
    source: Annotated[
        str,
        "`builtin`: this project's plugins; `release`: a tarball with checksums; `file`: one executable",
        kinds.OneOf("a kind of source", ("builtin", "release", "file")),
    ]
    plugins: Annotated[tuple[Annotated[str, kinds.PLUGIN_NAME], ...], "only these executables; all if empty"] = ()
    url: Annotated[
        str | None, "of a release: https address or local path; `{arch}` stands for the architecture", kinds.ADDRESS
    ] = None
    version: Annotated[str | None, "of a release, for people"] = None
    checksums: Annotated[
        Mapping[str, Annotated[str, kinds.CHECKSUM]],
        "of a release: the tarball's checksum by architecture",
        kinds.Keys(kinds.OneOf("an architecture", kinds.ARCHITECTURES)),
    ] = field(default_factory=dict)
    path: Annotated[str | None, "of a file: the executable, from the inventory's folder"] = None
    checksum: Annotated[str | None, "of a file: its checksum", kinds.CHECKSUM] = None
    place: Place | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True)
class Runtime:
    """Where the node's container runtime looks."""

    conf_dir: Annotated[str, "the folder of conflists", kinds.FOLDER] = "/etc/cni/net.d"
    bin_dir: Annotated[str, "the folder of plugin executables", kinds.FOLDER] = "/opt/cni/bin"
    cache_dir: Annotated[str, "where results of attachments are kept", kinds.FOLDER] = "/var/lib/cni"
    server: Annotated[bool, "whether systemd runs the warm server of `builtin` plugins"] = True
    recovery: Annotated[bool, "whether systemd recovers at boot, before the runtimes, from an interrupted run"] = True


@dataclass(frozen=True)
class Kernel:
    """What the node's kernel must have: module names and sysctl values (as text)."""

    modules: Annotated[tuple[Annotated[str, kinds.MODULE], ...], "modules to load, now and at boot"] = ()
    sysctl: Annotated[Mapping[str, ScalarText], "values to set, now and at boot", kinds.Keys(kinds.SYSCTL)] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class Verify:
    """What is proved after an apply: `networks` empty means all."""

    enabled: Annotated[bool, "whether anything is proved after an apply"] = True
    probe: Annotated[bool, "whether throwaway containers are attached and traffic is sent"] = True
    networks: Annotated[tuple[Annotated[str, kinds.NETWORK_NAME], ...], "only these networks; all if empty"] = ()
    timeout: Annotated[float, "seconds for the checks of one node", kinds.Between(1, 3600)] = 30.0


@dataclass(frozen=True)
class Declarations:
    """Everything that is declared for one node, merged and checked; `cni_<field>` is the variable of a field."""

    networks: Annotated[tuple[Network, ...], "the networks of the node"] = ()
    plugins: Annotated[tuple[PluginSource, ...], "where plugin executables come from; `builtin` alone if absent"] = ()
    runtime: Annotated[Runtime, "where the node's container runtime looks"] = field(default_factory=Runtime)
    kernel: Annotated[Kernel, "what the node's kernel must have"] = field(default_factory=Kernel)
    prune: Annotated[
        tuple[Annotated[str, kinds.PATTERN], ...],
        "foreign files to remove: names or globs in `conf_dir`, or absolute",
    ] = ()
    adopt: Annotated[
        tuple[Annotated[str, kinds.PATTERN], ...],
        "files that exist and may be taken over: names or globs, as in prune",
    ] = ()
    verify: Annotated[Verify, "what is proved after an apply"] = field(default_factory=Verify)
    owner: Annotated[
        str, "who these declarations belong to; owners on one node do not touch each other", kinds.WORD
    ] = "cni-provision"
    state: Annotated[
        str, "`absent` takes everything of the owner off the node", kinds.OneOf("a state", ("present", "absent"))
    ] = "present"
    secrets: frozenset[Path] = field(default=frozenset(), metadata=INTERNAL)  # ("kernel", "sysctl", …), of all fields


@dataclass(frozen=True)
class Node:
    """One host of the inventory."""

    name: str
    groups: tuple[str, ...]
    connection: Connection
    declarations: Declarations
    variables: Mapping[str, Value] = field(default_factory=dict)  # evaluated, for templates


@dataclass(frozen=True)
class Inventory:
    """Every selected node, in Ansible's order, and the digest of all that was read; `hiding` knows its secrets."""

    nodes: tuple[Node, ...]
    source: str
    digest: str
    warnings: tuple[Diagnostic, ...] = ()
    hiding: Hiding = field(default_factory=Hiding, repr=False)
