"""Executables to install: where they come from, and their bytes by digest."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cni_provision import data
from cni_provision.artifact_build import HEAD, build_plugin, build_server, plugin_name
from cni_provision.artifact_launcher import launchers
from cni_provision.errors import UserError
from cni_provision.inventory.model import PluginSource

# 16 Go executables, 46 MB: level 1 leaves 47 % in 0.6 s, level 6 leaves 43 % in 2.1 s
COMPRESSION = 1

__all__ = ["Artifact", "Blobs", "build_plugin", "builtin_plugins", "collect", "default_cache", "file_name"]


@dataclass(frozen=True)
class Artifact:
    """One executable: `architecture` is Go's name, None where it runs on all; `source` names where it comes from."""

    name: str
    digest: str
    size: int
    source: str
    architecture: str | None = None


class Blobs:
    """Bytes by digest (lower-case hex SHA-256); each is compressed once, when it is first asked for."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}
        self._compressed: dict[str, bytes] = {}

    def add(self, content: bytes) -> str:
        """Keep bytes; answers their digest."""
        digest = hashlib.sha256(content).hexdigest()
        self._content[digest] = content
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest; raises `KeyError` for one that was never added."""
        return self._content[digest]

    def compressed(self, digest: str) -> bytes:
        """The same as zlib data."""
        if digest not in self._compressed:
            self._compressed[digest] = zlib.compress(self._content[digest], COMPRESSION)
        return self._compressed[digest]

    def __contains__(self, digest: object) -> bool:
        return digest in self._content


def default_cache() -> Path:
    """Where downloads are kept: the XDG cache folder of the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cni-provision"


def builtin_plugins() -> dict[str, Path]:
    """Name → source file of this project's own plugins, sorted by name."""
    return {plugin_name(file): file for file in sorted((data.root() / "plugins").glob("[!_]*.py"))}


def file_name(source: PluginSource) -> str:
    """The executable's name of a `file` source: as `plugins` says, else the file's own; `my_plugin.py` is built."""
    file = Path(source.path or source.name)
    named = plugin_name(file) if file.suffix == ".py" else file.name
    return source.plugins[0] if source.plugins else named


def names_of(source: PluginSource) -> tuple[str, ...]:
    """The executables that a source says it installs; empty for a release that does not name them."""
    if source.source == "file":
        return (file_name(source),)
    return source.plugins or (tuple(builtin_plugins()) if source.source == "builtin" else ())


def collect(source: PluginSource, blobs: Blobs, cache_dir: Path) -> tuple[Artifact, ...]:
    """Everything that a source installs, its bytes added to `blobs`; raises `UserError`."""
    if source.source == "release":
        return tuple(
            artifact for arch in sorted(source.checksums) for artifact in _release(source, arch, blobs, cache_dir)
        )
    if source.source == "file":
        return tuple(_artifacts([(file_name(source), _file(source))], source.name, blobs))
    names = set(names_of(source))
    return tuple(each for each in _builtin(source.name, blobs, cache_dir) if each.name in names)


def servers(blobs: Blobs, cache_dir: Path) -> tuple[Artifact, ...]:
    """The warm server of our own plugins, for each architecture that has a launcher; bytes are added to `blobs`."""
    digests: dict[str | None, dict[str, str]] = {}
    for each in _builtin("builtin", blobs, cache_dir):
        digests.setdefault(each.architecture, {})[each.name] = each.digest
    sources = list(builtin_plugins().values())
    return tuple(
        artifact
        for architecture, known in digests.items()
        for artifact in _artifacts([("server", build_server(sources, known))], "builtin", blobs, architecture)
    )


def _builtin(source: str, blobs: Blobs, cache_dir: Path) -> list[Artifact]:
    """Ours with every head: that in `sh` is for architectures without a launcher."""
    heads: list[tuple[str | None, bytes]] = [(None, HEAD), *launchers(cache_dir).items()]
    return [
        artifact
        for architecture, head in heads
        for name, file in builtin_plugins().items()
        for artifact in _artifacts([(name, build_plugin(file, head))], source, blobs, architecture)
    ]


def _release(source: PluginSource, arch: str, blobs: Blobs, cache_dir: Path) -> list[Artifact]:
    # urllib and tarfile: as much start-up as the rest of us, for those who have a release
    from cni_provision.artifact_release import executables

    found = executables(source, arch, cache_dir)
    return _artifacts(sorted(found.items()), source.name, blobs, arch)


def _artifacts(
    pairs: Iterable[tuple[str, bytes]], source: str, blobs: Blobs, arch: str | None = None
) -> list[Artifact]:
    return [Artifact(name, blobs.add(content), len(content), source, arch) for name, content in pairs]


def _file(source: PluginSource) -> bytes:
    """The bytes of a `file` source, its checksum proved; a Python file is built as our own plugins are."""
    path = Path(source.path or "")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read `{path}`: {error.strerror}", hint="`path` starts at the inventory's folder"
        ) from error
    if source.checksum:
        from cni_provision.artifact_release import require_checksum

        require_checksum(content, source.checksum, str(path))
    return build_plugin(path) if path.suffix == ".py" and b"PLUGIN = " in content else content
