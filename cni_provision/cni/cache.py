"""What was attached, in libcni's own files: `<folder>/results/<network>-<container id>-<ifname>`.

The three names may all contain `-`, so a file's name can be made but not taken apart: who it belongs to stands in
it. Writing is by rename (libcni truncates and writes: a crash leaves an empty file, and pods that cannot end).
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.protocol import Attachment, AttachmentKey
from cni_provision.cni.results import decode_result, encode_result
from cni_provision.cni.types import IO_FAILURE, UNDECODABLE, CNIError, Result
from cni_provision.cni.values import Config, decode_object, encode

_KIND = "cniCacheV1"
STALE_SECONDS = 60.0  # a broken file that is younger may be one that libcni is writing


@dataclass(frozen=True)
class Cached:
    """One attachment as it was made: its network's name and configuration, and the final result."""

    network: str
    attachment: Attachment
    config: bytes
    result: Result


@dataclass(frozen=True)
class ResultCache:
    """The cache of one node; files are made in `scratch`, of the same file system, before they get their name."""

    folder: str
    scratch: str

    def path(self, network: str, key: AttachmentKey) -> str:
        return os.path.join(self.folder, f"{network}-{key[0]}-{key[1]}")

    def write(self, network: NetworkConfig, attachment: Attachment, result: Result) -> None:
        """Raises CNIError 5 where it cannot."""
        content = encode(_encoded(network, attachment, result))
        path = self.path(network.name, attachment.key)
        scratch = os.path.join(self.scratch, hashlib.sha256(path.encode()).hexdigest()[:32] + ".result")
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            os.makedirs(self.scratch, 0o700, exist_ok=True)
            _write(scratch, content)
            os.replace(scratch, path)
        except OSError as error:
            with suppress(OSError):
                os.unlink(scratch)
            raise CNIError(IO_FAILURE, f"cannot write the result to {path}: {error.strerror}") from error

    def result(self, network: str, key: AttachmentKey, version: str) -> Result | None:
        """The final result, None where there is none. Raises CNIError 6 where the file is broken."""
        raw = self._record(network, key)
        if raw is not None and raw.get("kind") != _KIND:  # before libcni 0.8 the file was the result
            with self._blaming(network, key):
                return decode_result(raw, version)
        found = self._mine(raw, network, key)
        return found.result if found else None

    def read(self, network: str, key: AttachmentKey) -> Cached | None:
        """All that is kept, None where there is nothing. Raises CNIError 6 for a file that is broken or older."""
        return self._mine(self._record(network, key), network, key)

    def remove(self, network: str, key: AttachmentKey) -> None:
        """Forget one attachment; a file of the same name that is another's stays."""
        path = self.path(network, key)
        with suppress(CNIError, OSError):
            if not _belongs(_cached(decode_object(_content(path))), network, key):
                return
        with suppress(OSError):
            os.unlink(path)

    def attachments(self) -> Iterator[Cached]:
        """Whatever can be read, whole and with a name; broken and older files are passed over."""
        for path in self._paths():
            with suppress(CNIError, OSError):
                cached = _cached(decode_object(_content(path)))
                if cached.network and cached.attachment.container_id:
                    yield cached

    def collect(self, network: str) -> None:
        """Remove what may be this network's and says nothing (no JSON, or empty), unless it is young."""
        with suppress(CNIError):  # a folder that cannot be read fails whoever lists it
            for path in self._paths():
                if os.path.basename(path).startswith(f"{network}-"):
                    _remove_silent(path)

    def _record(self, network: str, key: AttachmentKey) -> dict[str, Any] | None:
        with self._blaming(network, key):
            try:
                return decode_object(_content(self.path(network, key)))
            except FileNotFoundError:
                return None

    def _mine(self, raw: dict[str, Any] | None, network: str, key: AttachmentKey) -> Cached | None:
        if raw is None:
            return None
        with self._blaming(network, key):
            found = _cached(raw)
        return found if _belongs(found, network, key) else None

    @contextmanager
    def _blaming(self, network: str, key: AttachmentKey) -> Iterator[None]:
        """Say in an error which file it is about."""
        try:
            yield
        except (CNIError, OSError) as error:
            path = self.path(network, key)
            raise CNIError(UNDECODABLE, f"the cached result {path} is broken", str(error)) from error

    def _paths(self) -> list[str]:
        """Raises CNIError 5 where the folder exists and cannot be read."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(entry.path for entry in entries if entry.is_file(follow_symlinks=False))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CNIError(IO_FAILURE, f"cannot read {self.folder}: {error.strerror}") from error


def _encoded(network: NetworkConfig, attachment: Attachment, result: Result) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": _KIND,
        "containerId": attachment.container_id,
        "config": base64.b64encode(network.content).decode("ascii"),
        "ifName": attachment.ifname,
        "networkName": network.name,
        "netns": attachment.netns,
        "cniArgs": [list(pair) for pair in attachment.args],
        "capabilityArgs": dict(attachment.capabilities),
    }
    kept = {key: value for key, value in record.items() if value}
    return {**kept, "result": encode_result(result, network.cni_version)}


def _cached(record: dict[str, Any]) -> Cached:
    """Raises CNIError 6 for anything that libcni would not have written."""
    raw = Config(record, "", UNDECODABLE)
    if raw.text("kind") != _KIND:
        raise raw.error("kind", f"must be {_KIND}")
    pairs = raw.sequence("cniArgs")
    if not all(isinstance(pair, list) and list(map(type, pair)) == [str, str] for pair in pairs):
        raise raw.error("cniArgs", "must be a list of pairs")
    args = tuple((pair[0], pair[1]) for pair in pairs)
    capabilities = raw.mapping("capabilityArgs").raw
    attachment = Attachment(raw.text("containerId"), raw.text("netns"), raw.text("ifName"), args, capabilities)
    return Cached(raw.text("networkName"), attachment, _bytes(raw), decode_result(raw.get("result")))


def _belongs(cached: Cached, network: str, key: AttachmentKey) -> bool:
    return (cached.network, cached.attachment.key) == (network, key)


def _remove_silent(path: str) -> None:
    with suppress(OSError):
        try:
            decode_object(_content(path))
        except CNIError:
            if time.time() - os.stat(path).st_mtime > STALE_SECONDS:
                os.unlink(path)


def _bytes(raw: Config) -> bytes:
    try:
        return base64.b64decode(raw.text("config"), validate=True)
    except ValueError as error:  # binascii.Error, or not ASCII at all
        raise raw.error("config", "must be base64") from error


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
