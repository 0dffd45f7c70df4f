"""An interface that stands alone in a container, maybe above another one: made there at once, with its own name.

To make it on the host under another name, to move and to rename it, would be three steps, and leave it somewhere
between them when the plugin is killed.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace

from cni_provision.net import departure, link, nsid
from cni_provision.net.errors import NetError
from cni_provision.net.link import Kind, Link, Settings
from cni_provision.net.rtnl import NetlinkError, Socket
from cni_provision.net.undo import Undo


def make(inside: Socket, kind: Kind, settings: Settings, undo: Undo) -> Link:
    """NetError EEXIST when the container has an interface of that name."""
    assert settings.name is not None
    try:
        (found,) = inside.perform(link.creating(kind, settings), link.finding(settings.name))
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
        if link.find(inside, settings.name):
            problem = f"the container has an interface `{settings.name}` already"
            raise NetError(errno.EEXIST, problem) from error
        return _make_aside(inside, kind, settings, undo)
    undo.later(remove_from, inside, settings.name, kind.name)
    return link.decode(found)


def _make_aside(inside: Socket, kind: Kind, settings: Settings, undo: Undo) -> Link:
    """Under a name of nobody's, and named in the container.

    Kernels before 6.14 make it in the namespace of its parent first, where an interface may have the name.
    """
    name, aside = settings.name or "", f"cnip{os.urandom(4).hex()}"
    (found,) = inside.perform(link.creating(kind, replace(settings, name=aside)), link.finding(aside))
    undo.later(remove_from, inside, aside, kind.name)
    made = link.decode(found)
    link.change(inside, made, Settings(name=name))
    undo.later(remove_from, inside, name, kind.name)
    return replace(made, name=name)


def above(inside: Socket, lower: Link, settings: Settings, *, on_host: bool) -> Settings:
    """The same above `lower`, which is on the host or in the container too."""
    return replace(settings, parent=lower.index, parent_nsid=nsid.of_this(inside) if on_host else None)


def remove(netns_fd: int, name: str, kind: str) -> None:
    """Delete an interface; that it is gone already, or is of another kind, is success."""
    with Socket(netns_fd) as inside:
        found = link.find(inside, name)
        if found and found.kind == kind:
            departure.delete(inside, found, netns_fd)


def remove_from(inside: Socket, name: str, kind: str) -> None:
    """The same, waiting until it is freed."""
    found = link.find(inside, name)
    if found and found.kind == kind:
        link.delete(inside, found)
