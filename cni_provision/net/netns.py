"""Network namespaces: open one, and open other things inside it (setns(2), namespaces(7), ioctl_nsfs(2))."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703  # _IO(0xb7, 3): only nsfs answers it
OWN = "/proc/thread-self/ns/net"


def open_path(path: str) -> int:
    """A descriptor of the network namespace at `path`; OSError when the path is missing or something else."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not is_netns(fd):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a network namespace", path)
    return fd


def is_netns(fd: int) -> bool:
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False


@contextmanager
def inside(fd: int | None) -> Iterator[None]:
    """The calling thread is in that namespace; None is where it already is.

    Only for open(), socket() and ioctl() of one descriptor: what they return stays bound to the namespace.
    A thread that cannot come back would do later work in a container, so it takes the process with it.
    """
    if fd is None:
        yield
        return
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd)
        try:
            yield
        finally:
            return_to(own)
    finally:
        os.close(own)


@contextmanager
def locked(fd: int) -> Iterator[None]:
    """Nobody else who asks for it works in this namespace meanwhile; the reference's `sbr` locks the same (flock)."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def create() -> int:
    """A descriptor of a new network namespace; it goes when the last descriptor, process and mount of it go.

    A thread of its own enters it, so that the caller's stays where it is.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(unshared).result()


def unshared() -> int:
    """Put the calling thread into a new namespace for good, and return its descriptor."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")
    return os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)


def return_to(own: int) -> None:
    try:
        setns(own)
    except OSError as error:
        os.write(2, f"cannot leave a network namespace: {error}\n".encode())
        os._exit(70)


def setns(fd: int) -> None:
    """Move the calling thread into a network namespace; `os.setns` exists from Python 3.12 on."""
    native = getattr(os, "setns", None)
    if native is not None:
        native(fd, CLONE_NEWNET)
        return
    _setns_of_libc()(fd, CLONE_NEWNET)


@lru_cache(maxsize=1)
def _setns_of_libc() -> Callable[[int, int], None]:
    import ctypes  # here, because it costs milliseconds that Python 3.12 need not pay

    libc = ctypes.CDLL(None, use_errno=True)

    def checked(fd: int, kind: int) -> None:
        if libc.setns(fd, kind) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"setns: {os.strerror(code)}")

    return checked
