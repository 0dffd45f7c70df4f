"""This project's plugins as executables, built once for all tests of a session."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cni_provision.artifact import builtin_plugins, default_cache
from cni_provision.artifact_build import HEAD, build_plugin
from cni_provision.artifact_launcher import TARGETS, can_build, launcher, own_architecture

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"  # which a node's executables find
COMPILE = """
import sys
sys.path[:0] = [sys.argv[1]]
from cni_provision.node import bytecode
bytecode.refresh({path: path for path in sys.argv[3:]}, sys.argv[2])
"""
CAN_BE_SERVED = own_architecture() in TARGETS and can_build()


@dataclass(frozen=True)
class Built:
    """A folder of executables, and the plugin of each by its digest."""

    folder: Path
    plugins: Mapping[str, str]


def build(folder: Path) -> Built:
    """With this machine's launcher, or the head in `sh` where there is no compiler for it."""
    head = launcher(own_architecture(), default_cache()) if CAN_BE_SERVED else HEAD
    plugins = {}
    for name, source in builtin_plugins().items():
        content = build_plugin(source, head)
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
        plugins[hashlib.sha256(content).hexdigest()] = name
    return Built(folder, plugins)


def compile_for(python: str, built: Built, folder: Path) -> Path:
    """What `apply` by this Python keeps beside its state."""
    executables = sorted(str(file) for file in built.folder.iterdir())
    subprocess.run([python, "-ISc", COMPILE, str(ROOT), str(folder), *executables], check=True, timeout=300)
    return folder
