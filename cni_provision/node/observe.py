"""What is on the node now."""

from __future__ import annotations

import fnmatch
import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from cni_provision.node import files, live, validate
from cni_provision.plan import DIRECTORY, File, State, ancestors

# uname's machine → Go's name, as releases of plugins are called
ARCHITECTURES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv6l": "arm", "armv7l": "arm", "i686": "386", "mips64": "mips64le",
    "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x", "loongarch64": "loong64",
}  # fmt: skip
LOADED = (".conf", ".conflist", ".json")


def architecture() -> str:
    """Go's name of this machine's architecture; uname's where Go has none."""
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def facts() -> dict[str, Any]:
    """What the controller may want to know of the node itself."""
    return {"architecture": architecture(), "python": platform.python_version(), "kernel": os.uname().release}


def states(references: Mapping[str, State]) -> dict[str, State]:
    """What stands where `references` are, and what directories are above them; absent keys are left out."""
    found = {key: _state(reference) for key, reference in references.items()}
    above = {path for state in references.values() if isinstance(state, File) for path in ancestors(state.path)}
    found.update(
        {f"file:{path}": files.state_of(path, kind=DIRECTORY) for path in above if f"file:{path}" not in found}
    )
    return {key: state for key, state in found.items() if state is not None}


def _state(reference: State) -> Optional[State]:
    if isinstance(reference, File):
        return files.state_of(reference.path, kind=reference.kind, label=reference.label is not None)
    return live.read(reference)


def matching(patterns: Iterable[str], conf_dir: str) -> list[str]:
    """The paths that exist and fit a prune pattern, folders and staged files left out."""
    found: set[str] = set()
    for pattern in patterns:
        folder, name = validate.folders(pattern, conf_dir)
        found.update(f"{folder}/{entry}" for entry in listed(folder) if fnmatch.fnmatchcase(entry, name))
    return sorted(path for path in found if not os.path.isdir(path))


def listed(folder: str) -> list[str]:
    """The names in a folder that are not ours to stage; none if it is not there."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(".cnip-"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def conflist_names(conf_dir: str) -> list[str]:
    """The file names that a runtime would load, dotfiles included."""
    return [name for name in listed(conf_dir) if name.endswith(LOADED)]


def fingerprint(state: Optional[State]) -> Optional[str]:
    """A state in one short text, to tell later whether it moved."""
    if state is None:
        return None
    return f"{state.digest}:{state.mode:o}:{state.uid}:{state.gid}" if isinstance(state, File) else state.value


def references(keys: Iterable[str], kinds: Mapping[str, str]) -> dict[str, State]:
    """What a prune pattern named, as references; `kinds` says what a folder holds, elsewhere it is a file."""
    names = (key.partition(":")[2] for key in keys)
    return {f"file:{path}": File(path, "", kind=kinds.get(os.path.dirname(path), "file")) for path in names}
