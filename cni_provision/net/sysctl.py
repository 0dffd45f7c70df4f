"""Kernel parameters under `/proc/sys`, of this network namespace or of another (sysctl(8), proc(5)).

A key is written as sysctl(8) takes it: the first separator decides, so `net/ipv4/conf/eth0.100/arp_notify`
and `net.ipv4.conf.eth0/100.arp_notify` are the same.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping

from cni_provision.net import netns
from cni_provision.net.errors import NetError

ROOT = "/proc/sys"


def path(key: str) -> str:
    """The file of a key; ValueError for a key that would leave `/proc/sys`."""
    slash, dot = key.find("/"), key.find(".")
    if dot >= 0 and (slash < 0 or dot < slash):
        key = key.translate(str.maketrans("./", "/."))
    parts = key.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"`{key}` is not a sysctl key")
    return "/".join((ROOT, *parts))


def read(key: str, netns_fd: int | None = None) -> str:
    """FileNotFoundError where this kernel has no such parameter."""
    descriptors = _open([key], os.O_RDONLY, netns_fd)
    try:
        if key not in descriptors:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path(key))
        return _value(descriptors[key])
    finally:
        _close(descriptors.values())


def write(key: str, value: str, netns_fd: int | None = None) -> None:
    """Set a parameter, unless it has that value already (reading is cheap, writing may lock the network).

    FileNotFoundError where this kernel has no such parameter, NetError for anything else.
    """
    if write_present({key: value}, netns_fd):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path(key))


def write_present(values: Mapping[str, str], netns_fd: int | None = None) -> set[str]:
    """As `write`, for several at once; returns the keys that this kernel does not have (IPv6 off, older kernel).

    Each is opened once, to read and to write: a second visit to the namespace costs as much as five parameters.
    """
    descriptors = _open(values, os.O_RDWR, netns_fd)
    try:
        for key, descriptor in descriptors.items():
            if _value(descriptor) != values[key]:
                _set(descriptor, key, values[key])
    finally:
        _close(descriptors.values())
    return values.keys() - descriptors.keys()


def _value(descriptor: int) -> str:
    return os.pread(descriptor, 4096, 0).decode().strip()


def _set(descriptor: int, key: str, value: str) -> None:
    """From the start of the file: the kernel refuses a value after what was read."""
    try:
        os.pwrite(descriptor, value.encode(), 0)
    except OSError as error:
        code = errno.EROFS if error.errno == errno.EBADF else error.errno or 0  # see `_open_file`
        raise NetError(code, f"cannot write `{value}` to `{path(key)}`: {os.strerror(code)}") from error


def _open(keys: Collection[str], flags: int, netns_fd: int | None) -> dict[str, int]:
    """A descriptor of each parameter that there is, in one visit to the namespace."""
    files = [path(key) for key in keys]
    descriptors: list[int | None] = []
    try:
        with netns.inside(netns_fd):
            descriptors.extend(_open_file(file, flags) for file in files)
    except BaseException:
        _close(one for one in descriptors if one is not None)
        raise
    return {key: one for key, one in zip(keys, descriptors) if one is not None}


def _open_file(file: str, flags: int) -> int | None:
    """To be read only where nobody may write (`/proc/sys` of a container): it may have the right value already."""
    try:
        return os.open(file, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if flags == os.O_RDWR and error.errno in (errno.EROFS, errno.EACCES):
            return _open_file(file, os.O_RDONLY)
        raise NetError(error.errno or 0, f"cannot open `{file}`: {error.strerror}") from error


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
