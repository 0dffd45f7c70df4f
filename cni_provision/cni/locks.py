"""Locks between processes, threads and tasks alike: one file and one flock(2) each, gone with whoever held it.

To take one is an operation (`steps`), so that who waits in an event loop does not stop it:
``with (yield from locks.exclusive(folder, "container c1", 10)): …``
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass

from cni_provision.cni.steps import Wait
from cni_provision.cni.types import IO_FAILURE, TRY_AGAIN_LATER, CNIError

DOOR = ".door"  # of whoever waits, beside the lock itself
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Held:
    """A lock that is ours until the end of the `with`."""

    descriptor: int
    path: str
    remove: bool

    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        if self.remove:
            with suppress(OSError):
                os.unlink(self.path)
        os.close(self.descriptor)


def exclusive(folder: str, name: str, timeout: float) -> Generator[Wait, None, Held]:
    """Alone; the file is removed at the end. Raises CNIError 11 when somebody else keeps it for `timeout` seconds."""
    return _held(folder, name, fcntl.LOCK_EX, timeout)


def shared(folder: str, name: str, timeout: float) -> Generator[Wait, None, Held]:
    """Together with other `shared` holders, never with an `exclusive` one; the file stays."""
    return _held(folder, name, fcntl.LOCK_SH, timeout)


def _held(folder: str, name: str, kind: int, timeout: float) -> Generator[Wait, None, Held]:
    """Whoever waits holds the door meanwhile: who wants it alone would never get it, if of those who share it each
    began before another has ended."""
    path, remove, deadline = _path(folder, name), kind == fcntl.LOCK_EX, time.monotonic() + timeout
    try:
        with Held((yield from _acquire(path + DOOR, kind, deadline)), path + DOOR, remove):
            return Held((yield from _acquire(path, kind, deadline)), path, remove)
    except BlockingIOError as error:
        raise CNIError(TRY_AGAIN_LATER, f"{name} is in use by another call since more than {timeout:g} s") from error


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, hashlib.sha256(name.encode()).hexdigest()[:32] + ".lock")


def _acquire(path: str, kind: int, deadline: float) -> Generator[Wait, None, int]:
    """Raises BlockingIOError when the time is over."""
    attempt = 0
    while True:
        descriptor = _attempt(path, kind)
        if descriptor is not None:
            return descriptor
        if time.monotonic() >= deadline:
            raise BlockingIOError
        yield Wait(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        attempt += 1


def _attempt(path: str, kind: int) -> int | None:
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CNIError(IO_FAILURE, f"cannot open the lock {path}: {error.strerror}") from error
    if _locked(descriptor, path, kind):
        return descriptor
    os.close(descriptor)
    return None


def _locked(descriptor: int, path: str, kind: int) -> bool:
    """Whether it is ours, and still the file of that name: the one who had it before may have removed it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
