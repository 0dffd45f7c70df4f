"""What an inventory declares, after reading, merging and checking: plain values, each with its place.

`Places` maps the path of a value below a node's variables (("cni_networks", 0, "parameters", "mtu")) to
where its winner stands; `Place`s of templated values are those of the template text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cni_provision.errors import Place

Value = Any  # a YAML value: str, int, float, bool, None, list, dict
Path = tuple[str | int, ...]
Places = Mapping[Path, Place]


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

    name: str
    order: int = 50
    template: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    plugins: tuple[Mapping[str, Value], ...] = ()  # literal, `template` is None or "raw"
    cni_version: str = "1.0.0"
    file: str | None = None  # file name; default `<order>-<name>.conflist`
    place: Place | None = None
    places: Places = field(default_factory=dict)  # of what is below the network, relative to it

    @property
    def file_name(self) -> str:
        """The conflist's name in the runtime's configuration folder."""
        return self.file or f"{self.order:02d}-{self.name}.conflist"


@dataclass(frozen=True)
class PluginSource:
    """Where plugin executables come from.

    `source` is `builtin` (this project's plugins), `release` (a tarball: `url` is https:// or a local path,
    `checksums` maps an architecture, Go's name, to the SHA-256 of its tarball, and `{arch}` in `url`
    is replaced) or `file` (`path` on the controller, `checksum` optional). `plugins` narrows to some
    names; empty means all.
    """

    name: str
    source: str
    plugins: tuple[str, ...] = ()
    url: str | None = None
    version: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    checksum: str | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Runtime:
    """Where the node's container runtime looks."""

    conf_dir: str = "/etc/cni/net.d"
    bin_dir: str = "/opt/cni/bin"
    cache_dir: str = "/var/lib/cni"


@dataclass(frozen=True)
class Kernel:
    """What the node's kernel must have: module names and sysctl values (as text)."""

    modules: tuple[str, ...] = ()
    sysctl: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verify:
    """What is proved after an apply: `networks` empty means all."""

    enabled: bool = True
    probe: bool = True
    networks: tuple[str, ...] = ()
    timeout: float = 30.0


@dataclass(frozen=True)
class Declarations:
    """Everything that is declared for one node, merged and checked."""

    networks: tuple[Network, ...] = ()
    plugins: tuple[PluginSource, ...] = ()
    runtime: Runtime = field(default_factory=Runtime)
    kernel: Kernel = field(default_factory=Kernel)
    prune: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    verify: Verify = field(default_factory=Verify)
    owner: str = "cni-provision"
    state: str = "present"


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
    """Every selected node, in Ansible's order, and the digest of all that was read."""

    nodes: tuple[Node, ...]
    source: str
    digest: str
