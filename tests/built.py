"""This project's plugins as executables, built once for all tests of a session."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cni_provision.artifact import builtin_plugins
from cni_provision.artifact_build import build_plugin

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Built:
    """A folder of executables, and the plugin of each by its digest."""

    folder: Path
    plugins: Mapping[str, str]


def build(folder: Path) -> Built:
    head = launcher(folder)
    plugins = {}
    for name, source in builtin_plugins().items():
        content = build_plugin(source, head)
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
        plugins[hashlib.sha256(content).hexdigest()] = name
    return Built(folder, plugins)


def launcher(folder: Path) -> bytes:
    target = folder / ".launcher"
    argv = [sys.executable, "-m", "ziglang", "cc", "-static", "-Os", "-s", "-target", "x86_64-linux-musl"]
    subprocess.run([*argv, "-o", str(target), str(ROOT / "plugins/launcher/launcher.c")], check=True, timeout=120)
    return target.read_bytes()
