"""Who holds which address of a lease directory, so that nobody has to read every lease to know.

    /run/cni-provision/leases/<digest of its path>/<2 digits>  a line for each lease: digest of container id, address
    /run/cni-provision/leases/<digest of its path>/stamp       which directory, as it was after our last change

Others (the reference plugin) change the directory too, and know nothing of this. So we give the directory a time of
our own after each change: whoever changes it afterwards sets another one, and the index is as good as none. What it
says is a hint even so; leases are read before they are believed. All of it happens under the directory's lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Optional

from cni_provision.cni.digest import sha256

ROOT = "/run/cni-provision/leases"
STAMP = "stamp"
FORMAT = 2


class Index:
    """The index of one directory. Where it cannot be kept (no root, no `/run`), it never knows anything."""

    def __init__(self, directory: str, root: str) -> None:
        self._directory = directory
        self._place = os.path.join(root, _digest(os.path.abspath(directory)))
        self._valid = self._stamp()[0] == _read(self._path(STAMP))
        self._changed = False

    def addresses(self, container_id: str) -> Optional[list[str]]:
        """The leases of that container, by whatever interface; None where the index does not know."""
        if not self._valid:
            return None
        key = _digest(container_id)
        lines = (line.split() for line in _read(self._path(key[:2])).splitlines())
        return [line[1] for line in lines if len(line) == 2 and line[0] == key]

    def add(self, container_id: str, address: str) -> None:
        self._changed = True
        if self._valid:
            key = _digest(container_id)
            self._write(key[:2], f"{key} {address}\n", os.O_APPEND)

    def discard(self, container_id: str, address: str) -> None:
        self._changed = True
        if self._valid:
            key = _digest(container_id)
            lines = _read(self._path(key[:2])).splitlines(keepends=True)
            self._write(key[:2], "".join(line for line in lines if line != f"{key} {address}\n"), os.O_TRUNC)

    def rebuild(self, leases: Iterable[tuple[str, str]]) -> None:
        """From (address, container id) of every lease."""
        self._valid = self._changed = True
        with suppress(OSError):
            os.makedirs(self._place, mode=0o700, exist_ok=True)
        shards: dict[str, list[str]] = {name: [] for name in self._present()}
        for address, container_id in leases:
            key = _digest(container_id)
            shards.setdefault(key[:2], []).append(f"{key} {address}\n")
        for name, lines in shards.items():
            self._write(name, "".join(lines), os.O_TRUNC)

    def _present(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._place) if name != STAMP]
        except OSError:
            return []

    def seal(self) -> None:
        """Say that the index is right again, after our own changes."""
        if not (self._changed and self._valid):
            return
        now = time.time_ns()
        with suppress(OSError):
            os.utime(self._directory, ns=(now, now))
            stamp, kept = self._stamp()
            if kept == now:  # a file system that rounds could not tell others' changes
                self._write(STAMP, stamp, os.O_TRUNC)

    def _stamp(self) -> tuple[str, int]:
        """(what the file holds while the directory is as it is, its time)."""
        about = os.stat(self._directory)
        return f"{FORMAT} {about.st_dev} {about.st_ino} {about.st_mtime_ns}\n", about.st_mtime_ns

    def _path(self, name: str) -> str:
        return f"{self._place}/{name}"

    def _write(self, name: str, content: str, flag: int) -> None:
        try:
            descriptor = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o600)
            try:
                if os.write(descriptor, content.encode()) != len(content):
                    self._valid = False
            finally:
                os.close(descriptor)
        except OSError:
            self._valid = False


def _digest(text: str) -> str:
    return sha256(text.encode())[:32]


def _read(path: str) -> str:
    """Nothing where there is no such file of our own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid():
            return ""
        return os.read(descriptor, about.st_size).decode("ascii", errors="replace")
    finally:
        os.close(descriptor)
