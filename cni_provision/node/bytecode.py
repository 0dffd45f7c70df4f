"""Plugins compiled for this node's Python: a cache beside the state, never part of a plan.

One file for each set of sources: marshalled (magic number, {module: (is a package, code)}). The `__main__` of an
executable reads it where root alone could have written it; without it the sources in its zip are compiled each time.
"""

from __future__ import annotations

import ast
import hashlib
import json
import marshal
import os
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import MAGIC_NUMBER
from types import CodeType

from cni_provision.node import files, paths
from cni_provision.node.plain import NotPlain, plain
from cni_provision.node.untyped import untyped

MARK = "cni_provision/cni/skel.py"  # what a plugin of this project's kind has in it
MAIN = "__main__.py"
VERSION = 1  # of what `compiled` makes of the same sources
INDEX = f"index-{VERSION}-{sys.implementation.cache_tag}"
READ_AT_RUN_TIME = (b"__annotations__", b"get_type_hints", b"__dataclass_fields__", b"inspect")  # what is taken away


def digest_of(sources: Mapping[str, bytes]) -> str:
    """The digest of a zip's modules by their names in it; its `__main__` is no module."""
    total = hashlib.sha256()
    for name in sorted(sources):
        if name.endswith(".py") and name != MAIN:
            total.update(b"%s\0%d\0" % (name.encode(), len(sources[name])) + sources[name])
    return total.hexdigest()


def refresh(executables: Mapping[str, str], folder: str = paths.BYTECODE) -> None:
    """Have exactly what these (path → digest) need; what cannot be compiled or written is left to Python.

    Where nothing has changed, no executable is read.
    """
    known = _index(folder)
    whole = _listed(folder) == {INDEX, *known.values()} - {""}
    if whole and known.keys() == set(executables.values()):
        return
    with suppress(OSError):
        there = _listed(folder) & set(known.values())
        names = {executables[path]: _made(sources, folder, there) for path, sources in _read(executables)}
        for name in _listed(folder) - set(names.values()):
            files.remove(f"{folder}/{name}")
        if any(names.values()):
            files.write_whole(f"{folder}/{INDEX}", json.dumps(names).encode())


def _read(executables: Iterable[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(path, sources) of those that can be read; nothing is in what is no zip."""
    for path in executables:
        with suppress(OSError):
            try:
                yield path, sources_in(path)
            except (ValueError, zipfile.BadZipFile):
                yield path, {}


def _made(sources: Mapping[str, bytes], folder: str, there: Collection[str]) -> str:
    """The name of what is compiled of a plugin of this project's kind; nothing where there is none."""
    name = f"{digest_of(sources)}-{sys.implementation.cache_tag}"
    if MARK not in sources:
        return ""
    if name not in there:
        try:
            content = compiled(sources)
        except (SyntaxError, ValueError):
            return ""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        files.write_whole(f"{folder}/{name}", content)
    return name


def _index(folder: str) -> dict[str, str]:
    """Digest of an executable → name of what is compiled of it, where all are known."""
    with suppress(OSError, ValueError), open(f"{folder}/{INDEX}", "rb") as file:
        found: dict[str, str] = json.loads(file.read())
        return found
    return {}


def _listed(folder: str) -> set[str]:
    with suppress(OSError):
        return set(os.listdir(folder))
    return set()


def sources_in(path: str) -> dict[str, bytes]:
    """Name → bytes of what stands behind an executable; raises `BadZipFile` where nothing does."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def compiled(sources: Mapping[str, bytes]) -> bytes:
    modules: dict[str, tuple[bool, CodeType]] = {}
    for name, code in _codes(sources).items():
        module = name[:-3].replace("/", ".")
        package = module.endswith(".__init__")
        modules[module[:-9] if package else module] = (package, code)
    return marshal.dumps((MAGIC_NUMBER, modules))


def _codes(sources: Mapping[str, bytes]) -> dict[str, CodeType]:
    """By name, without what costs time at every start; as the sources are where that is not understood."""
    modules = {name: source for name, source in sources.items() if name.endswith(".py") and name != MAIN}
    if not any(word in source for source in modules.values() for word in READ_AT_RUN_TIME):
        with suppress(NotPlain):
            return {name: _code(name, source, lean=True) for name, source in modules.items()}
    return {name: _code(name, source, lean=False) for name, source in modules.items()}


@cache
def _code(name: str, source: bytes, *, lean: bool) -> CodeType:
    tree = ast.parse(source, name)
    if lean:
        plain(tree)
        untyped(tree)
    return compile(tree, name, "exec", dont_inherit=True)
