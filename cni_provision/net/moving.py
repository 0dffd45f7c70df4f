"""Interfaces that go from one network namespace to another and back, and keep their own name as alias meanwhile.

Namespace, name, alias and state change in one request: a plugin that is killed has moved it or has not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Optional

from cni_provision.net import link, netns
from cni_provision.net.errors import NetError
from cni_provision.net.link import Link, Settings
from cni_provision.net.rtnl import Socket


@contextmanager
def here() -> Iterator[int]:
    """A descriptor of the namespace of this thread."""
    own = os.open(netns.OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield own
    finally:
        os.close(own)


def lend(host: Socket, device: Link, inside: Socket, netns_fd: int, name: str) -> Link:
    """Move a device of the host into a container as `name`, up. Whole or not at all.

    NetError EEXIST when the container has an interface of that name.
    """
    refuse(inside, name, "the container")
    settings = Settings(name=name, alias=device.name, netns_fd=netns_fd, up=True)
    try:
        link.change(host, device, settings)
        return link.get(inside, name)
    except OSError:
        with suppress(OSError):
            undo(host, device, inside)
        raise


def undo(host: Socket, device: Link, inside: Socket) -> None:
    """As it was before `lend`, however far that came."""
    moved = next((one for one in link.dump(inside) if device.name in (one.alias, one.name)), None)
    if moved and moved.mac == device.mac and not link.find(host, device.name):
        give_back(moved, inside, device.name)
    back = link.find(host, device.name)
    if back:
        link.change(host, back, Settings(alias=device.alias, up=device.up))


def give_back(lent: Link, inside: Socket, name: str) -> None:
    """Move a device out of a container to the host, down, as `name`. NetError EEXIST when the host has one."""
    with Socket() as host:
        refuse(host, name, "the host")
    with here() as own:
        link.change(inside, lent, Settings(name=name, alias="", netns_fd=own))


def refuse(socket: Socket, name: str, who: str) -> None:
    if link.find(socket, name):
        raise NetError(errno.EEXIST, f"{who} has an interface `{name}` already")


def stranded(host: Socket, name: str) -> Optional[Link]:
    """A device that the kernel has put on the host when its container ended, under the name that it had there."""
    if link.find(host, name):
        return None
    return next((one for one in link.dump(host) if one.alias == name), None)


def rescue(name: str) -> None:
    """Give a stranded device its own name again, where there is one."""
    with Socket() as host:
        found = stranded(host, name)
        if found:
            link.change(host, found, Settings(up=False))
            link.change(host, found, Settings(name=name, alias=""))
