"""Executables out of a release's tarball: fetched once, its checksum proved, only plain files let out of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from cni_provision.errors import UserError
from cni_provision.inventory.model import PluginSource

LARGEST_ARCHIVE = 512 * 1024 * 1024
LARGEST_CONTENT = 2 * 1024 * 1024 * 1024
PIECE = 1024 * 1024
SECONDS = 60.0
EXECUTABLE = 0o111


def executables(source: PluginSource, architecture: str, cache_dir: Path) -> dict[str, bytes]:
    """Name → bytes of what a release has for one architecture; raises `UserError`."""
    archive = _archive(source, architecture, cache_dir)
    origin = f"release `{source.name}` for {architecture}"
    try:
        found = dict(_members(archive, origin, source.plugins))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{origin} is not a tarball: {error}") from error
    absent = [name for name in source.plugins if name not in found]
    if absent:
        has = ", ".join(f"`{name}`" for name in sorted(_names(archive)))
        raise UserError(f"{origin} has no executable `{absent[0]}`", hint=f"it has {has}")
    if not found:
        raise UserError(f"{origin} has no executable", hint="name the files under `plugins`")
    return found


def _archive(source: PluginSource, architecture: str, cache_dir: Path) -> bytes:
    """The tarball's bytes, out of the cache where it is there; raises `UserError` for a wrong checksum."""
    checksum = plain_checksum(source.checksums[architecture])
    address = (source.url or "").replace("{arch}", architecture)
    kept = cache_dir / "releases" / checksum
    with contextlib.suppress(OSError):
        content = kept.read_bytes()
        if hashlib.sha256(content).hexdigest() == checksum:
            return content
    content = _download(address) if address.startswith("https://") else _local(address)
    require_checksum(content, checksum, address)
    if address.startswith("https://"):
        _keep(kept, content)
    return content


def plain_checksum(text: str) -> str:
    """`sha256:ABC…` or `ABC…` → lower-case hex."""
    return text.removeprefix("sha256:").lower()


def require_checksum(content: bytes, checksum: str, what: str) -> None:
    """Raise `UserError` if the bytes are not those that were declared."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != plain_checksum(checksum):
        hint = "if the new content is what you want, and its source says so too, declare its checksum"
        raise UserError(
            f"`{what}` has the checksum sha256:{digest}, not sha256:{plain_checksum(checksum)}", hint=hint
        )


def _local(address: str) -> bytes:
    if "://" in address and not address.startswith("file://"):
        raise UserError(f"`{address}` is neither https nor a local path", hint="write `https://…` or a path")
    try:
        with Path(address.removeprefix("file://")).open("rb") as file:
            return _read(file, address)
    except OSError as error:
        raise UserError(f"cannot read `{address}`: {error.strerror}") from error


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirects, never to an address without TLS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to `{newurl}`, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _download(address: str) -> bytes:
    """The content behind an https address; certificates are verified as Python's ssl does by default."""
    opener = urllib.request.build_opener(_OnlyHttps)
    try:
        with opener.open(address, timeout=SECONDS) as answer:
            return _read(answer, address)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        hint = "download it yourself and name the local path as `url`"
        raise UserError(f"cannot download `{address}`: {reason}", hint=hint) from error


def _read(stream: IO[bytes], address: str) -> bytes:
    content = stream.read(LARGEST_ARCHIVE + 1)
    if len(content) > LARGEST_ARCHIVE:
        raise UserError(f"`{address}` is larger than {LARGEST_ARCHIVE >> 20} MiB")
    return content


def _keep(path: Path, content: bytes) -> None:
    """Keep a download for the next run; a cache that cannot be written is not a failure."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)


def _members(archive: bytes, origin: str, wanted: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The executables at the archive's top; everything in it is looked at, and what is not plain is refused."""
    seen: set[str] = set()
    total = 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for member in opened:
            _require_plain(member, origin)
            total += member.size
            if total > LARGEST_CONTENT:
                raise UserError(f"{origin} holds more than {LARGEST_CONTENT >> 20} MiB")
            name = member.name.removeprefix("./")
            if name in seen and member.isreg():
                raise UserError(f"{origin} holds `{name}` twice")
            seen.add(name)
            if _is_wanted(member, wanted):
                content = opened.extractfile(member)
                assert content is not None
                yield name, content.read()


def _require_plain(member: tarfile.TarInfo, origin: str) -> None:
    """Refuse what could land anywhere but in the target's folder, or be anything but bytes."""
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts:
        raise UserError(f"{origin} holds `{member.name}`, which leaves the archive")
    if not (member.isreg() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "a device"
        raise UserError(f"{origin} holds `{member.name}`, which is {kind}")


def _is_wanted(member: tarfile.TarInfo, wanted: Sequence[str]) -> bool:
    """Licences and notes are not executables; what is named is taken whatever its mode."""
    name = member.name.removeprefix("./")
    if not member.isreg() or "/" in name or name.startswith("."):
        return False
    return name in wanted if wanted else bool(member.mode & EXECUTABLE)


def _names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [member.name.removeprefix("./") for member in opened if _is_wanted(member, ())]
