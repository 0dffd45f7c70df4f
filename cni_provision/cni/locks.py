"""Locks between processes and threads alike: one file and one flock(2) each, gone with whoever held it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cni_provision.cni.types import IO_FAILURE, TRY_AGAIN_LATER, CNIError

_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@contextmanager
def exclusive(folder: str, name: str, timeout: float) -> Iterator[None]:
    """Alone; the file is removed at the end. Raises CNIError 11 when somebody else keeps it for `timeout` seconds."""
    path = _path(folder, name)
    descriptor = _acquire(path, name, fcntl.LOCK_EX, timeout)
    try:
        yield
    finally:
        os.unlink(path)
        os.close(descriptor)


@contextmanager
def shared(folder: str, name: str, timeout: float) -> Iterator[None]:
    """Together with other `shared` holders, never with an `exclusive` one; the file stays."""
    descriptor = _acquire(_path(folder, name), name, fcntl.LOCK_SH, timeout)
    try:
        yield
    finally:
        os.close(descriptor)


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, hashlib.sha256(name.encode()).hexdigest()[:32] + ".lock")


def _acquire(path: str, name: str, kind: int, timeout: float) -> int:
    deadline = time.monotonic() + timeout
    attempt = 0
    while True:
        descriptor = _open(path)
        if _locked(descriptor, path, kind):
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise CNIError(TRY_AGAIN_LATER, f"{name} is in use by another call since more than {timeout:g} s")
        time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        attempt += 1


def _open(path: str) -> int:
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CNIError(IO_FAILURE, f"cannot open the lock {path}: {error.strerror}") from error


def _locked(descriptor: int, path: str, kind: int) -> bool:
    """Whether it is ours, and still the file of that name: the one who had it before may have removed it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
