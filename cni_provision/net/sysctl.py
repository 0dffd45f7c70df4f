"""Kernel parameters under `/proc/sys`, of this network namespace or of another (sysctl(8), proc(5)).

A key is written as sysctl(8) takes it: the first separator decides, so `net/ipv4/conf/eth0.100/arp_notify`
and `net.ipv4.conf.eth0/100.arp_notify` are the same.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

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
    found = _read_present([key], netns_fd)
    if key not in found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path(key))
    return found[key]


def write(key: str, value: str, netns_fd: int | None = None) -> None:
    """Set a parameter, unless it has that value already (reading is cheap, writing may lock the network).

    FileNotFoundError where this kernel has no such parameter, NetError for anything else.
    """
    if write_present({key: value}, netns_fd):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path(key))


def write_present(values: Mapping[str, str], netns_fd: int | None = None) -> set[str]:
    """As `write`, for several at once; returns the keys that this kernel does not have (IPv6 off, older kernel)."""
    present = _read_present(list(values), netns_fd)
    differing = [key for key in present if present[key] != values[key]]
    with _opened(differing, os.O_WRONLY, netns_fd) as descriptors:
        for key, descriptor in zip(differing, descriptors):
            if descriptor is not None:
                _set(descriptor, key, values[key])
    return values.keys() - present.keys()


def _set(descriptor: int, key: str, value: str) -> None:
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise NetError(error.errno or 0, f"cannot write `{value}` to `{path(key)}`: {error.strerror}") from error


def _read_present(keys: Sequence[str], netns_fd: int | None) -> dict[str, str]:
    with _opened(keys, os.O_RDONLY, netns_fd) as descriptors:
        opened = [(key, one) for key, one in zip(keys, descriptors) if one is not None]
        return {key: os.read(one, 4096).decode().strip() for key, one in opened}


@contextmanager
def _opened(keys: Sequence[str], flags: int, netns_fd: int | None) -> Iterator[list[int | None]]:
    """A descriptor of each parameter, None where there is none, in one visit to the namespace."""
    files = [path(key) for key in keys]
    descriptors: list[int | None] = []
    try:
        if files:
            with netns.inside(netns_fd):
                descriptors.extend(_open(file, flags) for file in files)
        yield descriptors
    finally:
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)


def _open(file: str, flags: int) -> int | None:
    try:
        return os.open(file, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NetError(error.errno or 0, f"cannot open `{file}`: {error.strerror}") from error
