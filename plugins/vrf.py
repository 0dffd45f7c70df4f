"""vrf: the container's interface in a routing domain of its own inside the container (a chained plugin).

The smallest configuration, after the plugin that makes the interface:

    {"type": "vrf", "vrfname": "blue"}

key      default     meaning
vrfname  (needed)    the vrf, made when it is not there, deleted with its last interface
table    first free  its routing table; of a vrf that is there it must be the same
"""

from __future__ import annotations

from collections.abc import Iterator

from cni_provision.attach import chain, interface
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INTERNAL, INVALID_CONFIG, CNIError, Result
from cni_provision.net import link, netns, vrf
from cni_provision.net.link import Link
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")


def network(call: Call) -> tuple[str, int]:
    """Name and table of the vrf; table 0: any."""
    name, table = call.config.text("vrfname"), call.config.integer("table")
    if not name:
        raise CNIError(INVALID_CONFIG, "configuration is expected to have a valid vrf name (`vrfname`)")
    if not 0 <= table <= vrf.LAST_TABLE:
        raise call.config.error("table", f"must be from 0 to {vrf.LAST_TABLE}")
    return name, table


def add(call: Call) -> Result:
    (name, table), before = network(call), chain.previous(call)
    assert call.netns_fd is not None
    with netns.locked(call.netns_fd), Socket(call.netns_fd) as inside, Undo() as undo:
        own = free(inside, link.get(inside, call.ifname))
        vrf.join(inside, own, vrf.ensure(inside, name, table, undo), undo)
        undo.keep()
    return before


def free(inside: Socket, own: Link) -> Link:
    """The same interface, which must be no port of anything."""
    if own.master:
        master = link.by_index(inside, own.master).name
        raise CNIError(INTERNAL, f"interface {own.name} has already a master set: {master}")
    return own


def delete(call: Call) -> None:
    """The interface leaves; the last one takes the vrf with it. Whatever is gone already is fine."""
    name, _ = network(call)
    if call.netns_fd is None:
        return
    with netns.locked(call.netns_fd), Socket(call.netns_fd) as inside:
        links = link.dump(inside)
        made = next((one for one in links if (one.name, one.kind) == (name, vrf.KIND)), None)
        if made is None:
            return
        others = [one for one in vrf.ports(links, made) if one.name != call.ifname]
        for own in vrf.ports(links, made):
            if own not in others:
                vrf.leave(inside, own)
        if not others:
            link.delete(inside, made)


def check(call: Call) -> None:
    name, table = network(call)
    chain.previous(call)
    with Socket(call.netns_fd) as inside:
        made, own = link.find(inside, name), link.find(inside, call.ifname)
    interface.refuse(call, list(differences(call, made, own, table)))


def differences(call: Call, made: Link | None, own: Link | None, table: int) -> Iterator[str]:
    """What is not as ADD left it, as sentences."""
    name, _ = network(call)
    if own is None:
        yield f"interface `{call.ifname}` is gone"
    elif made is None or made.kind != vrf.KIND:
        yield f"vrf `{name}` is gone"
    elif own.master != made.index:
        yield f"failed to find {call.ifname} associated to vrf {name}"
    elif table not in (0, vrf.table_of(made)):
        yield f"vrf `{name}` has the table {vrf.table_of(made)}, not {table}"


def status(call: Call) -> None:
    network(call)
    with Socket() as host:
        interface.require_kinds(host, vrf.KIND)


ABOUT = "CNI vrf plugin: a routing domain of its own"
PLUGIN = skel.Plugin("vrf", add, delete, check, status, versions=VERSIONS, about=ABOUT)

if __name__ == "__main__":
    skel.main(PLUGIN)
