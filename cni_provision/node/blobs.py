"""Bytes by digest, kept for staging, undo and rollback; whoever uses them checks them, a torn blob is none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Collection, Iterator

from cni_provision.node import files, paths
from cni_provision.node.failure import Failure
from cni_provision.node.protocol import LARGEST_FRAME

DIGEST = re.compile(r"[0-9a-f]{64}")
LARGEST_BLOB = LARGEST_FRAME


def path_of(digest: str) -> str:
    return f"{paths.BLOBS}/{digest}"


def has(digest: str) -> bool:
    """Whether the bytes are here and whole."""
    try:
        return files.digest_of(path_of(digest)) == digest
    except OSError:
        return False


def add(digest: str, blocks: Iterator[bytes]) -> None:
    """Keep bytes under their digest; raises `Failure` if they have another one or are too many."""
    temporary = paths.staging(path_of(digest))
    running, size = hashlib.sha256(), 0
    with files.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        for block in blocks:
            size += len(block)
            if size > LARGEST_BLOB:
                raise Failure(f"`{digest[:12]}` is larger than {LARGEST_BLOB >> 20} MiB")
            running.update(block)
            files.write_all(descriptor, block)
        os.fsync(descriptor)
    if running.hexdigest() != digest:
        files.remove(temporary)
        raise Failure(f"the bytes of `{digest[:12]}` have another digest", hint="run the command again")
    os.rename(temporary, path_of(digest))


def unpacked(body: bytes) -> Iterator[bytes]:
    """zlib data as blocks of bounded size; raises `Failure` for anything else."""
    stream = zlib.decompressobj()
    try:
        while body:
            yield stream.decompress(body, files.CHUNK)
            body = stream.unconsumed_tail
        yield stream.flush()
    except zlib.error as error:
        raise Failure(f"a blob is not zlib data: {error}") from error


def keep(path: str, digest: str) -> None:
    """Keep the bytes of a file that will be replaced; raises `Failure` if they are no longer the ones planned for."""
    if has(digest):
        return
    try:
        with files.opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            add(digest, files.chunks(descriptor))
    except Failure as failure:
        raise Failure(f"`{path}` cannot be kept: {failure.message}", reason="conflict") from failure


def read(digest: str) -> bytes:
    """All bytes of a small blob; raises `OSError`."""
    with files.opened(path_of(digest), os.O_RDONLY) as descriptor:
        return b"".join(files.chunks(descriptor))


def copy(digest: str, descriptor: int) -> None:
    """Write the bytes of a blob; raises `Failure` if it is not here."""
    try:
        with files.opened(path_of(digest), os.O_RDONLY) as source:
            for block in files.chunks(source):
                files.write_all(descriptor, block)
    except FileNotFoundError as error:
        raise Failure(
            f"the bytes of `{digest[:12]}` are not kept on this node", hint="apply the inventory again"
        ) from error


def discard_except(wanted: Collection[str]) -> None:
    """Forget what no kept generation needs."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(paths.BLOBS):
            if name not in wanted:
                files.remove(f"{paths.BLOBS}/{name}")
