"""An interface above another one, its master: what macvlan, vlan and ipvlan have in common.

The master is on the host, or in the container where `linkInContainer` is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from cni_provision.attach import interface, ipam
from cni_provision.cni.call import Call
from cni_provision.cni.types import INVALID_CONFIG, NOT_AVAILABLE, CNIError, Result
from cni_provision.net import link, route, rtnl, single
from cni_provision.net.link import Kind, Link, Settings
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo


def in_container(call: Call) -> bool:
    return call.config.boolean("linkInContainer")


@contextmanager
def side(call: Call) -> Iterator[Socket]:
    """Where the master is."""
    with Socket(call.netns_fd if in_container(call) else None) as socket:
        yield socket


def default(socket: Socket) -> str:
    """The interface of the default route, for where no master is named."""
    for version in (4, 6):
        for one in route.dump(socket, version):
            if one.destination.prefixlen == 0 and one.index and one.table == route.RT_TABLE_MAIN:
                return link.by_index(socket, one.index).name
    raise CNIError(INVALID_CONFIG, "no default route interface found; name the `master`")


def find(call: Call, socket: Socket, name: str) -> Link:
    """The master of that name, else that of the default route; CNIError 7 where there is none."""
    name = name or default(socket)
    found = link.find(socket, name)
    if found is None:
        where = "the container" if in_container(call) else "the host"
        raise CNIError(INVALID_CONFIG, f'failed to lookup master "{name}": {where} has no such interface')
    return found


def mtu(call: Call, master: Link) -> int | None:
    """`mtu`, which must not be above the master's; None for the master's own."""
    wanted = call.config.integer("mtu")
    if not 0 <= wanted <= master.mtu:
        raise CNIError(INVALID_CONFIG, f"invalid MTU {wanted}, must be [0, master MTU({master.mtu})]")
    return wanted or None


def add(call: Call, master: Link, kind: Kind, settings: Settings, lease: Callable[[Call, Undo], Result]) -> Result:
    """The whole of an ADD: `settings` of an interface above its master; `lease` gives its addresses."""
    with Socket(call.netns_fd) as inside, Undo() as undo:
        placed = single.above(inside, master, settings, on_host=not in_container(call))
        made = single.make(inside, kind, placed, undo)
        result = interface.complete(call, inside, made, lease(call, undo))
        undo.keep()
    return result


def mode(call: Call, kind: str, modes: Mapping[str, int], default: str) -> int:
    """`mode` as the kernel has it."""
    name = call.config.text("mode") or default
    if name not in modes:
        raise CNIError(INVALID_CONFIG, f'unknown {kind} mode: "{name}"; `mode` must be one of {", ".join(modes)}')
    return modes[name]


def in_mode(found: Link, attribute: int, expected: int, modes: Mapping[str, int]) -> list[str]:
    """Whether an interface has the expected mode, as sentences about what is wrong."""
    names = {value: name for name, value in modes.items()}
    present = rtnl.number(found.data.get(attribute, b""))
    wrong = f"`{found.name}` is in mode {names.get(present, present)}, not {names[expected]}"
    return [wrong] if present != expected else []


def check(call: Call, kind: str, unlike: Callable[[Link], Iterable[str]]) -> None:
    """The whole of a CHECK; `unlike` looks at what is special to the kind."""
    name = call.config.text("master")

    def differences(found: Link) -> Iterator[str]:
        with side(call) as socket:
            master = link.find_index(socket, found.parent)
        if master is None:
            yield f"the master of `{found.name}` is gone"
        elif name not in ("", master.name):
            yield f"`{found.name}` is above `{master.name}`, not `{name}`"
        yield from unlike(found)

    interface.check(call, kind, differences)


def status(call: Call, kind: str) -> None:
    """An ADD would find kind, master (of a container there is none yet) and addresses."""
    with Socket() as host:
        interface.require_kinds(host, kind)
        if not in_container(call):
            try:
                find(call, host, call.config.text("master"))
            except CNIError as error:
                raise CNIError(NOT_AVAILABLE, error.msg) from error
    ipam.status(call)
