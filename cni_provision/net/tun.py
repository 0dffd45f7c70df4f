"""Tap devices: made by opening /dev/net/tun in their namespace (`networking/tuntap.rst`).

A device is there while somebody has it open, until it is made persistent, which is the last step.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Optional

from cni_provision.net import netns
from cni_provision.net.errors import NetError

DEVICE = "/dev/net/tun"
KIND = "tun"
TUNSETIFF, TUNSETPERSIST, TUNSETOWNER, TUNSETGROUP = 0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TUN_EXCL = 0x0002, 0x0100, 0x1000, 0x8000
REQUEST = struct.Struct("=16sH22x")  # struct ifreq: name, flags


def make_tap(netns_fd: int, name: str, *, multi_queue: bool, owner: Optional[int], group: Optional[int]) -> None:
    """A persistent tap device; NetError EBUSY when the namespace has an interface of that name."""
    flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL | (IFF_MULTI_QUEUE if multi_queue else 0)
    steps = [(TUNSETOWNER, owner), (TUNSETGROUP, group), (TUNSETPERSIST, 1)]
    try:
        _make(
            netns_fd,
            REQUEST.pack(name.encode(), flags),
            [(code, value) for code, value in steps if value is not None],
        )
    except OSError as error:
        raise NetError(error.errno or 0, f"cannot make tap interface `{name}`: {error.strerror}") from error


def _make(netns_fd: int, request: bytes, steps: Sequence[tuple[int, int]]) -> None:
    import fcntl

    with netns.inside(netns_fd):
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, TUNSETIFF, request)
        for code, value in steps:
            fcntl.ioctl(device, code, value)
    finally:
        os.close(device)


def make_labelled(netns_fd: int, name: str, context: str, words: Sequence[str]) -> None:
    """The same by `ip tuntap add … words` that runs in an SELinux context; NetError with what it says."""
    import subprocess

    enter = ["nsenter", f"--net=/proc/self/fd/{netns_fd}", "--"]
    argv = ["runcon", context, *enter, "ip", "tuntap", "add", "mode", "tap", "name", name, *words]
    try:
        done = subprocess.run(argv, pass_fds=(netns_fd,), capture_output=True, text=True, timeout=30)
    except OSError as error:
        raise NetError(error.errno or 0, f"cannot run `runcon`: {error.strerror}") from error
    if done.returncode:
        raise NetError(0, f"cannot make tap interface `{name}` in context {context}: {done.stderr.strip()}")
