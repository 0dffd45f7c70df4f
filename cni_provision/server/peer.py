"""Whom the server serves: root as it is itself, executing one of our plugins (DESIGN §5.2).

Anybody else gets what executing the file gives them, and nothing from us. Everything is read through one descriptor
of /proc/PID, so that it is about one process; where the kernel has SO_PEERPIDFD it is certain that this is the one
at the other end. Sources: unix(7), proc(5), namespaces(7), capabilities(7).
"""

from __future__ import annotations

import _socket
import hashlib
import os
import select
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

NAMESPACES = ("mnt", "user", "net", "pid")
NEEDED = 1 << 12 | 1 << 21  # CAP_NET_ADMIN, CAP_SYS_ADMIN
SO_PEERPIDFD = 77  # Linux 6.5; the same number on every architecture that we are built for

_LINKS = tuple(f"ns/{name}" for name in NAMESPACES)  # to read them takes half as long as to ask for their inodes
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_KNOWN_FILES = 256


# Where a process is: its namespaces by number; device and inode of its root, and the mount that this is on
Place = tuple[Union[str, int], ...]


class Stranger(Exception):
    """Not to be served; the text is the reason in one or two words, as it is counted and told."""


@dataclass(frozen=True)
class Caller:
    """Who is served: the `digest` of the executable that it runs, and the folder where it stands."""

    pid: int
    digest: str
    folder: str


class Files:
    """Digests of files by what a change of them would change. For any thread: the work is done twice at worst."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def digest(self, path: str, folder: int | None = None) -> str:
        """Of the file at `path`, from the descriptor `folder`; raises OSError."""
        digest = self._known.get(_identity(os.stat(path, dir_fd=folder)))
        if digest is None:
            key, digest = _read(path, folder)
            if len(self._known) >= _KNOWN_FILES:
                self._known.clear()
            self._known[key] = digest
        return digest


def judge(stream: _socket.socket, own: Place, files: Files, known: Mapping[str, object]) -> Caller:
    """The caller, if it is one of ours whose file is among the `known` digests; raises `Stranger`."""
    pid, uid, _ = _CREDENTIALS.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != 0:
        raise Stranger("not root")
    if pid <= 0:
        raise Stranger("other pid namespace")
    try:
        process = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _require_alive(stream)  # now that its folder is open
            return _examined(pid, process, own, files, known)
        finally:
            os.close(process)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Stranger("gone") from error
    except PermissionError as error:
        raise Stranger("more than the server may see") from error


def place(process: int) -> Place:
    """Where the process is whose /proc folder this is a descriptor of."""
    return (*[os.readlink(name, dir_fd=process) for name in _LINKS], *_root(process))


def own_place() -> Place:
    process = os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)
    try:
        return place(process)
    finally:
        os.close(process)


def _require_alive(stream: _socket.socket) -> None:
    """The number was the caller's own all the time: where it has ended, somebody else may have it now."""
    try:
        descriptor = stream.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:  # before Linux 6.5: that it still holds its end is the best that can be known
        _refuse_if_readable(stream.fileno(), select.POLLRDHUP)
        return
    try:
        _refuse_if_readable(descriptor, select.POLLIN)
    finally:
        os.close(descriptor)


def _refuse_if_readable(descriptor: int, events: int) -> None:
    poller = select.poll()
    poller.register(descriptor, events)
    if poller.poll(0):
        raise Stranger("gone")


def _examined(pid: int, process: int, own: Place, files: Files, known: Mapping[str, object]) -> Caller:
    where = place(process)
    if where != own:
        raise Stranger(_elsewhere(where, own))
    if _capabilities(process) & NEEDED != NEEDED:
        raise Stranger("capabilities")
    digest = files.digest("exe", process)
    if digest not in known:
        raise Stranger("other file")
    return Caller(pid, digest, os.readlink("cwd", dir_fd=process))


def _elsewhere(where: Place, own: Place) -> str:
    for name, theirs, ours in zip(NAMESPACES, where, own):
        if theirs != ours:
            return f"other {name} namespace"
    return "other root directory"


def _root(process: int) -> tuple[int, int, int]:
    """A bind mount of / has the same inode: only the number of the mount tells it from the original."""
    descriptor = os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=process)
    try:
        found = os.fstat(descriptor)
        fields = _read_whole(f"/proc/self/fdinfo/{descriptor}")
        return found.st_dev, found.st_ino, int(_field(fields, b"mnt_id:"))
    finally:
        os.close(descriptor)


def _capabilities(process: int) -> int:
    return int(_field(_read_whole("status", process), b"CapEff:"), 16)


def _field(text: bytes, name: bytes) -> bytes:
    """The value in `name value` on a line of its own."""
    return text.partition(name)[2].partition(b"\n")[0].strip()


def _read_whole(path: str, folder: int | None = None) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, 1 << 14)
    finally:
        os.close(descriptor)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: str, folder: int | None) -> tuple[tuple[int, ...], str]:
    """(identity, digest) of one and the same file, which did not change meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        before, digest = _identity(os.fstat(descriptor)), hashlib.sha256()
        for chunk in iter(lambda: os.read(descriptor, 1 << 20), b""):
            digest.update(chunk)
        if _identity(os.fstat(descriptor)) != before:
            raise Stranger("other file")
        return before, digest.hexdigest()
    finally:
        os.close(descriptor)
