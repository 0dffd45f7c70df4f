"""Plugins compiled for this node's Python: a cache beside the state, never part of a plan.

One file for each set of sources: marshalled (magic number, {module: (is a package, code)}). The `__main__` of an
executable reads it where root alone could have written it; without it the sources in its zip are compiled each time.
"""

from __future__ import annotations

import ast
import hashlib
import marshal
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from types import CodeType

from cni_provision.node import files, paths
from cni_provision.node.plain import NotPlain, plain
from cni_provision.node.untyped import untyped

MARK = "cni_provision/cni/skel.py"  # what a plugin of this project's kind has in it
MAIN = "__main__.py"
READ_AT_RUN_TIME = (b"__annotations__", b"get_type_hints", b"__dataclass_fields__", b"inspect")  # what is taken away


def digest_of(sources: Mapping[str, bytes]) -> str:
    """The digest of a zip's modules by their names in it; its `__main__` is no module."""
    total = hashlib.sha256()
    for name in sorted(sources):
        if name.endswith(".py") and name != MAIN:
            total.update(b"%s\0%d\0" % (name.encode(), len(sources[name])) + sources[name])
    return total.hexdigest()


def refresh(executables: Iterable[str]) -> None:
    """Have exactly what these need; what cannot be compiled or written is left to Python."""
    needed = wanted(executables)
    for name, sources in needed.items():
        with suppress(OSError, ValueError, SyntaxError):
            if not os.path.exists(f"{paths.BYTECODE}/{name}"):
                os.makedirs(paths.BYTECODE, mode=0o700, exist_ok=True)
                files.write_whole(f"{paths.BYTECODE}/{name}", compiled(sources))
    with suppress(OSError):
        for name in set(os.listdir(paths.BYTECODE)) - set(needed):
            files.remove(f"{paths.BYTECODE}/{name}")


def wanted(executables: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """File name → sources, for each executable that is a plugin of this project's kind."""
    found = {}
    for path in executables:
        with suppress(OSError, ValueError, zipfile.BadZipFile):
            sources = sources_in(path)
            if MARK in sources:
                found[f"{digest_of(sources)}-{sys.implementation.cache_tag}"] = sources
    return found


def sources_in(path: str) -> dict[str, bytes]:
    """Name → bytes of what stands behind an executable; raises `BadZipFile` where nothing does."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def compiled(sources: Mapping[str, bytes]) -> bytes:
    modules: dict[str, tuple[bool, CodeType]] = {}
    for name, tree in lean(sources).items():
        module = name[:-3].replace("/", ".")
        package = module.endswith(".__init__")
        modules[module[:-9] if package else module] = (package, compile(tree, name, "exec", dont_inherit=True))
    return marshal.dumps((MAGIC_NUMBER, modules))


def lean(sources: Mapping[str, bytes]) -> dict[str, ast.Module]:
    """The modules' trees without what costs time at every start; as they are where that is not understood."""
    if not any(word in source for source in sources.values() for word in READ_AT_RUN_TIME):
        with suppress(NotPlain):
            return {name: _lean(tree) for name, tree in _trees(sources)}
    return dict(_trees(sources))


def _trees(sources: Mapping[str, bytes]) -> Iterator[tuple[str, ast.Module]]:
    for name, source in sources.items():
        if name.endswith(".py") and name != MAIN:
            yield name, ast.parse(source, name)


def _lean(tree: ast.Module) -> ast.Module:
    plain(tree)
    untyped(tree)
    return tree
