"""Files as the node sees and writes them: never through a symbolic link, durable before they are visible."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Optional

from cni_provision.node import paths
from cni_provision.plan import DIRECTORY, File

CHUNK = 1 << 20
ATTRIBUTES = ("security.selinux", "security.capability", "system.posix_acl_access", "system.posix_acl_default")
LABEL = "security.selinux"
UNSUPPORTED = {errno.ENOTSUP, errno.ENODATA, errno.EOPNOTSUPP, errno.ENOENT}


@contextlib.contextmanager
def opened(path: str, flags: int, mode: int = 0o600) -> Iterator[int]:
    """A descriptor of `path` itself; a symbolic link there is an error (ELOOP)."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        block = os.read(descriptor, CHUNK)
        if not block:
            return
        yield block


def digest_of(path: str) -> str:
    """SHA-256 of a regular file's bytes, in hex."""
    running = hashlib.sha256()
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
        for block in chunks(descriptor):
            running.update(block)
    return running.hexdigest()


def state_of(path: str, *, kind: str = "file", label: bool = False) -> Optional[File]:
    """What is at `path`; for what is neither file nor directory the digest is the word for it.

    Only for a directory a symbolic link is followed: `/opt` may well be one.
    """
    try:
        found = os.stat(path, follow_symlinks=kind == DIRECTORY)
        digest = _digest(path, found.st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = stat.S_IMODE(found.st_mode)
    context = _label(path) if label else None
    return File(path, digest, mode, found.st_uid, found.st_gid, DIRECTORY if digest == DIRECTORY else kind, context)


def _digest(path: str, mode: int) -> str:
    if stat.S_ISREG(mode):
        return digest_of(path)
    if stat.S_ISDIR(mode):
        return DIRECTORY
    return "symbolic link" if stat.S_ISLNK(mode) else "special file"


def _label(path: str) -> Optional[str]:
    value = attributes(path).get(LABEL)
    return bytes.fromhex(value).decode().rstrip("\0") if value else None


def attributes(path: str) -> dict[str, str]:
    """The label, capabilities and access lists of a file, values in hex; empty for what has none."""
    found = {}
    for name in ATTRIBUTES:
        try:
            found[name] = os.getxattr(path, name, follow_symlinks=False).hex()
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
    return found


def set_attributes(path: str, wanted: dict[str, str], label: Optional[str]) -> None:
    """Give `path` the attributes of the file that it replaces; a declared label wins over the one found."""
    values = {name: bytes.fromhex(value) for name, value in wanted.items()}
    if label:
        values[LABEL] = label.encode() + b"\0"
    for name, value in values.items():
        os.setxattr(path, name, value, follow_symlinks=False)


def write_all(descriptor: int, block: bytes) -> None:
    """Write all of `block`; an `OSError` names the file, as the one of `open` does."""
    view = memoryview(block)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        error.filename = os.readlink(f"/proc/self/fd/{descriptor}")
        raise


def write_whole(path: str, content: bytes) -> None:
    """Replace a file of our own state: the old bytes or the new ones, also after a power cut."""
    temporary = paths.staging(path)
    with opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        write_all(descriptor, content)
        os.fsync(descriptor)
    os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make the names in a directory durable; a directory that is gone needs nothing."""
    try:
        with opened(os.path.realpath(path), os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            os.fsync(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return


def remove(path: str) -> None:
    """Remove a file; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def remove_directory(path: str) -> None:
    """Remove an empty directory; one that others use by now stays."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ENOENT, errno.ENOTDIR):
            raise
