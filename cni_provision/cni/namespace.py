"""CNI_NETNS as a descriptor: a network namespace that is not the plugin's own, known before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cni_provision.cni.types import INVALID_NETNS, CNIError

ABSENT = -1  # as a descriptor: whoever was to open it could not
_NS_GET_NSTYPE, _CLONE_NEWNET = 0xB703, 0x40000000  # ioctl_nsfs(2)


@contextmanager
def opened(environment: Mapping[str, str], given: int | None, *, may_be_gone: bool) -> Iterator[int | None]:
    """The namespace of a call: `given` where somebody has opened it already (it stays open), else CNI_NETNS.

    None where CNI_NETNS is empty, and where it is no namespace (any more) and `may_be_gone`. Raises CNIError 8.
    """
    path = environment.get("CNI_NETNS", "")
    descriptor = _namespace(path, given, may_be_gone=may_be_gone) if path else None
    try:
        if descriptor is not None:
            _check_not_own(environment, descriptor)
        yield descriptor
    finally:
        if descriptor is not None and given is None:
            os.close(descriptor)


def _namespace(path: str, given: int | None, *, may_be_gone: bool) -> int | None:
    try:
        return _open(path) if given is None else _given(path, given)
    except CNIError:
        if may_be_gone:
            return None
        raise


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise CNIError(INVALID_NETNS, f'failed to open netns "{path}": {error}') from error
    if _is_netns(descriptor):
        return descriptor
    os.close(descriptor)
    # After a restart of the node the file is there, the namespace that was mounted on it is not.
    raise CNIError(INVALID_NETNS, f'"{path}" is not a network namespace')


def _given(path: str, descriptor: int) -> int:
    if descriptor == ABSENT:
        raise CNIError(INVALID_NETNS, f'failed to open netns "{path}"{_why_not(path)}')
    if not _is_netns(descriptor):
        raise CNIError(INVALID_NETNS, f'"{path}" is not a network namespace')
    return descriptor


def _why_not(path: str) -> str:
    """What kept somebody else from opening it, as far as a look from here can tell."""
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        return f": {error}"
    return ""


def _is_netns(descriptor: int) -> bool:
    import fcntl

    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def _check_not_own(environment: Mapping[str, str], descriptor: int) -> None:
    if environment.get("CNI_NETNS_OVERRIDE", "").lower() in ("1", "true"):
        return
    own, given = os.stat("/proc/self/ns/net"), os.fstat(descriptor)
    if (own.st_dev, own.st_ino) == (given.st_dev, given.st_ino):
        raise CNIError(INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")
