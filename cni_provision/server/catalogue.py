"""The plugins that a server has, by the digest of the executable that holds the same sources."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from cni_provision.cni.skel import Plugin

PARTS = (
    "cni_provision.attach",
    "cni_provision.cni",
    "cni_provision.dhcp",
    "cni_provision.net",
    "cni_provision.server",
)
LATE = ("ctypes", "subprocess", "traceback", "encodings.idna")  # of the standard library, imported when needed
BUILD_DIGITS = 12


@dataclass(frozen=True)
class Catalogue:
    """`plugins` by digest; `build` names this set of executables."""

    build: str
    plugins: Mapping[str, Plugin] = field(repr=False)


def load(digests: Mapping[str, str]) -> Catalogue:
    """The catalogue for plugin name → digest, its modules imported from the package `plugins`."""
    modules = {name: importlib.import_module(f"plugins.{name.replace('-', '_')}") for name in digests}
    text = json.dumps(digests, sort_keys=True)
    build = hashlib.sha256(text.encode()).hexdigest()[:BUILD_DIGITS]
    return Catalogue(build, {digest: modules[name].PLUGIN for name, digest in digests.items()})


def import_everything() -> None:
    """Whatever may be imported later is imported now: `apply` replaces our file while we run."""
    for name in LATE:
        importlib.import_module(name)
    for part in PARTS:
        package = importlib.import_module(part)
        for found in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{part}.{found.name}")
