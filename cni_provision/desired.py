"""What is declared for a node → what its files and live values must be. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cni_provision.artifact import Artifact
from cni_provision.desired_service import leases, recovery, service
from cni_provision.inventory.model import Declarations, Node, Runtime
from cni_provision.node.protocol import Reload, Request
from cni_provision.plan import DIRECTORY, File, Live, State, hidden, is_hidden, key_of
from cni_provision.render import Conflist

EXECUTABLE = 0o755
READABLE = 0o644
SECRET = 0o600
LOADED = "loaded"  # what a node reads back for a module that is there


@dataclass(frozen=True)
class Desired:
    """One node's goal. `states` hold everywhere, `variants` by architecture; `texts` are the small files by digest.

    `secret` are the keys of files whose bytes must not be shown.
    """

    node: Node
    states: Mapping[str, State] = field(default_factory=dict)
    variants: dict[str, dict[str, State]] = field(default_factory=dict)  # shared by nodes
    reloads: tuple[Reload, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    conflists: tuple[Conflist, ...] = ()
    secret: tuple[str, ...] = ()


def desired(
    node: Node,
    conflists: tuple[Conflist, ...],
    artifacts: Iterable[Artifact],
    servers: Iterable[Artifact] = (),
    program: str = "",
) -> Desired:
    """The goal of one node, see `installed` and `goal`."""
    return goal(node, conflists, installed(node.declarations.runtime, artifacts, servers, program))


@dataclass(frozen=True)
class Installed:
    """What nodes of one runtime and the same sources have in common: executables and services.

    `services` stand behind everything else, as units may need all of it.
    """

    executables: Mapping[str, State] = field(default_factory=dict)
    variants: dict[str, dict[str, State]] = field(default_factory=dict)
    services: Mapping[str, State] = field(default_factory=dict)
    reloads: tuple[Reload, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    plugins: frozenset[str] = frozenset()


def installed(
    runtime: Runtime, artifacts: Iterable[Artifact], servers: Iterable[Artifact] = (), program: str = ""
) -> Installed:
    """`servers`: of the warm server. `program`: the digest of what recovers at boot."""
    artifacts = tuple(artifacts)
    executables = [(artifact.architecture, _executable(runtime.bin_dir, artifact)) for artifact in artifacts]
    folders = [_folder(runtime.bin_dir)] if executables else []
    warm = service(servers if runtime.server else ())
    guard = recovery(program if runtime.recovery else "")
    return Installed(
        executables=_by_key([*folders, *(file for architecture, file in executables if architecture is None)]),
        variants=_variants([*executables, *warm.variants]),
        services={**warm.states, **guard.states},
        reloads=tuple(dict.fromkeys([*warm.reloads, *guard.reloads])),
        texts={**warm.texts, **guard.texts},
        plugins=frozenset(artifact.name for artifact in artifacts),
    )


def goal(node: Node, conflists: tuple[Conflist, ...], common: Installed) -> Desired:
    """The goal of a node; an owner that is declared absent wants nothing."""
    declared = node.declarations
    if declared.state == "absent":
        return Desired(node)
    written = [_conflist(declared.runtime.conf_dir, conflist) for conflist in conflists]
    written += _drop_ins(declared)
    folders = [_folder(declared.runtime.conf_dir)] if conflists else []
    values, covered = _live(declared), _secret_values(declared)
    dhcp = leases(conflists, common.plugins, declared.runtime.bin_dir)
    return Desired(
        node,
        states={
            **_by_key(folders),
            **common.executables,
            **_by_key(file for file, _ in written),
            **values,
            **common.services,
            **dhcp.states,
        },
        variants=common.variants,
        reloads=tuple(dict.fromkeys([*common.reloads, *dhcp.reloads])) if dhcp.reloads else common.reloads,
        texts={file.digest: text for file, text in written} | {**common.texts, **dhcp.texts, **covered},
        conflists=conflists,
        secret=tuple(_key(file) for file, _ in written if file.mode == SECRET)
        + tuple(key for key, value in values.items() if is_hidden(value)),
    )


def request(
    goal: Desired, verb: str, *, by: str = "", inventory: str = "", source: str = "", time: str = ""
) -> Request:
    """The question that brings a node to its goal, or asks how far it is from there.

    `by` is who asks, `inventory` the digest and `source` the name of what was read, `time` for display only.
    """
    declared = goal.node.declarations
    return Request(
        verb,
        owner=declared.owner,
        by=by,
        inventory=inventory,
        source=source,
        time=time,
        desired=dict(goal.states),
        variants=goal.variants,
        texts=dict(goal.texts),
        reloads=goal.reloads,
        prune=declared.prune,
        adopt=declared.adopt,
        secret=goal.secret,
        conf_dir=declared.runtime.conf_dir,
        bin_dir=declared.runtime.bin_dir,
        cache_dir=declared.runtime.cache_dir,
    )


def _key(file: File) -> str:
    return f"file:{file.path}"


def _by_key(files: Iterable[File]) -> dict[str, State]:
    return {_key(file): file for file in files}


def _text_file(path: str, text: str, mode: int, kind: str) -> tuple[File, str]:
    return File(path, hashlib.sha256(text.encode()).hexdigest(), mode, kind=kind), text


def _conflist(folder: str, conflist: Conflist) -> tuple[File, str]:
    mode = SECRET if conflist.secret else READABLE
    return _text_file(f"{folder}/{conflist.file_name}", conflist.text, mode, "conflist")


def _executable(folder: str, artifact: Artifact) -> File:
    return File(f"{folder}/{artifact.name}", artifact.digest, EXECUTABLE, kind="plugin")


def _folder(path: str) -> File:
    return File(path, DIRECTORY, EXECUTABLE, kind="directory")


def _variants(executables: Iterable[tuple[str | None, File]]) -> dict[str, dict[str, State]]:
    found: dict[str, dict[str, State]] = {}
    for architecture, file in executables:
        if architecture is not None:
            found.setdefault(architecture, {})[_key(file)] = file
    return found


def _drop_ins(declared: Declarations) -> list[tuple[File, str]]:
    """What keeps modules and sysctls over a reboot: modules-load.d(5), sysctl.d(5)."""
    kernel, owner = declared.kernel, declared.owner
    head = f"# Written by cni-provision for `{owner}`; changes here are undone by its next run\n"
    modules = "".join(f"{name}\n" for name in sorted(kernel.modules))
    sysctls = "".join(f"{name} = {_spaced(value)}\n" for name, value in sorted(kernel.sysctl.items()))
    triples = [
        (f"/etc/modules-load.d/{owner}.conf", modules, "modules"),
        (f"/etc/sysctl.d/90-{owner}.conf", sysctls, "sysctl"),
    ]
    return [
        _text_file(path, head + lines, SECRET if _secrets(declared, part) else READABLE, "file")
        for path, lines, part in triples
        if lines
    ]


def _secrets(declared: Declarations, part: str) -> set[str]:
    """Which items of a part of `kernel` are secret: all of them where the whole is."""
    items = declared.kernel.sysctl if part == "sysctl" else declared.kernel.modules
    named = {str(path[2]) for path in declared.secrets if path[:2] == ("kernel", part) and len(path) > 2}
    whole = any(("kernel", part)[: len(path)] == path for path in declared.secrets)
    return set(items) if whole else named


def _live(declared: Declarations) -> dict[str, State]:
    """The same modules and values in the running kernel; of a secret value the digest."""
    covered = _secrets(declared, "sysctl")
    modules = [Live("module", name, LOADED) for name in sorted(declared.kernel.modules)]
    values = ((name, _spaced(value)) for name, value in sorted(declared.kernel.sysctl.items()))
    sysctls = [Live("sysctl", name, hidden(value) if name in covered else value) for name, value in values]
    return {key_of(live): live for live in (*modules, *sysctls)}


def _secret_values(declared: Declarations) -> dict[str, str]:
    """Digest → text of secret values."""
    values = (_spaced(declared.kernel.sysctl[name]) for name in _secrets(declared, "sysctl"))
    return {hashlib.sha256(value.encode()).hexdigest(): value for value in values}


def _spaced(value: str) -> str:
    """A sysctl's words with one space between, as nodes read them back."""
    return " ".join(value.split())
