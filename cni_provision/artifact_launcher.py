"""The native head of executables, by architecture: a wheel carries it, a checkout builds and keeps it.

`plugins/launcher/launcher.c` is one source for all; the same source and the same compiler give the same bytes. Where
neither a launcher nor the compiler (PyPI `ziglang`) is at hand, executables have a head in `sh` and are never served.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from cni_provision import data
from cni_provision.errors import UserError

# Go's name → zig's target, for every architecture that the reference plugins are released for
TARGETS = {
    "amd64": "x86_64-linux-musl",
    "arm": "arm-linux-musleabihf",
    "arm64": "aarch64-linux-musl",
    "mips64le": "mips64el-linux-muslabi64",
    "ppc64le": "powerpc64le-linux-musl",
    "riscv64": "riscv64-linux-musl",
    "s390x": "s390x-linux-musl",
}
FLAGS = (
    *("-Oz", "-static", "-s", "-Wall", "-Wextra", "-Wno-option-ignored", "-Werror"),
    *("-fno-sanitize=all", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"),
    *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
)
COMPILER = "0.17.1"  # of PyPI `ziglang`: another version gives other bytes, and two controllers would undo each other
SECONDS = 600.0  # the first build for an architecture also builds its C library
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "mips64": "mips64le"}


def launchers(cache_dir: Path) -> dict[str, bytes]:
    """Architecture → launcher, for those at hand; a checkout with the compiler makes that of this machine."""
    carried = _carried()
    if carried:
        return carried
    if not can_build():
        return {}
    own = own_architecture()
    if own in TARGETS:
        launcher(own, cache_dir)
    kept = {name: _kept(cache_dir) / name for name in TARGETS}
    return {name: file.read_bytes() for name, file in kept.items() if file.is_file()}


def launcher(architecture: str, cache_dir: Path) -> bytes:
    """That of one architecture, built where it is not at hand; raises `UserError` where that cannot be."""
    if architecture not in TARGETS:
        raise UserError(f"there is no launcher for `{architecture}`", hint=f"there are {', '.join(TARGETS)}")
    carried = _carried()
    if architecture in carried:
        return carried[architecture]
    if not can_build():
        raise UserError("a launcher is built with `zig cc`", hint=f"pip install ziglang=={COMPILER}")
    kept = _kept(cache_dir) / architecture
    with suppress(OSError):
        return kept.read_bytes()
    content = compiled(architecture)
    _keep(kept, content)
    return content


def can_build() -> bool:
    from importlib.metadata import PackageNotFoundError, version  # 10 ms, of `validate` too

    with suppress(PackageNotFoundError):
        return version("ziglang") == COMPILER
    return False


def own_architecture() -> str:
    machine = platform.machine()
    return MACHINES.get(machine, machine)


def compiled(architecture: str) -> bytes:
    """The compiler's output; raises `UserError` with its words."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "launcher")
        argv = (sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[architecture], *FLAGS, "-o", str(target))
        done = subprocess.run(
            [*argv, _source().name], cwd=_source().parent, capture_output=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise UserError(f"the launcher for {architecture} cannot be built", hint=said[-2000:])
        return target.read_bytes()


def _source() -> Path:
    return data.root() / "plugins/launcher/launcher.c"


@cache
def _carried() -> dict[str, bytes]:
    folder = data.root() / "launchers"
    return {name: (folder / name).read_bytes() for name in TARGETS if (folder / name).is_file()}


def _kept(cache_dir: Path) -> Path:
    """The folder of what comes of this source, these flags and this compiler."""
    facts = repr((_source().read_bytes(), TARGETS, FLAGS, COMPILER))
    return cache_dir / "launchers" / hashlib.sha256(facts.encode()).hexdigest()[:32]


def _keep(target: Path, content: bytes) -> None:
    """For next time, by rename; a cache that cannot be written is none."""
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, staged = tempfile.mkstemp(dir=target.parent, prefix=".")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(staged).replace(target)
