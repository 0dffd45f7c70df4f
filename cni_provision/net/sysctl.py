"""Kernel parameters under `/proc/sys`, of this network namespace or of another (sysctl(8), proc(5)).

A key is written as sysctl(8) takes it: the first separator decides, so `net/ipv4/conf/eth0.100/arp_notify`
and `net.ipv4.conf.eth0/100.arp_notify` are the same.
"""

from __future__ import annotations

import os

from cni_provision.net import netns
from cni_provision.net.errors import NetError

ROOT = "/proc/sys"


def path(key: str) -> str:
    """The file of a key; ValueError for a key that would leave `/proc/sys`."""
    slash, dot = key.find("/"), key.find(".")
    if dot >= 0 and (slash < 0 or dot < slash):
        key = key.translate(str.maketrans("./", "/."))
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"`{key}` is not a sysctl key")
    return "/".join((ROOT, *parts))


def read(key: str, netns_fd: int | None = None) -> str:
    fd = _open(key, os.O_RDONLY, netns_fd)
    try:
        return os.read(fd, 4096).decode().strip()
    finally:
        os.close(fd)


def write(key: str, value: str, netns_fd: int | None = None) -> None:
    """Set a parameter, unless it has that value already (reading is cheap, writing may lock the network).

    FileNotFoundError where this kernel has no such parameter, NetError for anything else.
    """
    try:
        if read(key, netns_fd) != value:
            _write(key, value, netns_fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NetError(error.errno, f"cannot write `{value}` to `{path(key)}`: {error.strerror}") from error


def _write(key: str, value: str, netns_fd: int | None) -> None:
    fd = _open(key, os.O_WRONLY, netns_fd)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def write_if_present(key: str, value: str, netns_fd: int | None = None) -> bool:
    """As `write`; False where this kernel has no such parameter (IPv6 off, older kernel)."""
    try:
        write(key, value, netns_fd)
    except FileNotFoundError:
        return False
    return True


def _open(key: str, flags: int, netns_fd: int | None) -> int:
    file = path(key)
    with netns.inside(netns_fd):
        return os.open(file, flags | os.O_CLOEXEC)
