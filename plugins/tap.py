"""tap: a tap device in the container, for a virtual machine that runs there.

The smallest configuration:

    {"type": "tap"}

key             default   meaning
multiQueue      false     several programs or threads may have it open
mtu             kernel's  MTU
mac             kernel's  MAC address
owner           anybody   user id that may open it
group           anybody   group id that may open it
selinuxContext  none      the SELinux context in which it is made
bridge          none      a bridge in the container to join
ipam            none      without it the container gets no address
dns             IPAM's    in the result

The MAC address: capability `mac`, else `CNI_ARGS` `MAC`, else the key.
"""

from __future__ import annotations

import os
from typing import Optional

from cni_provision.attach import interface, ipam, options
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INTERNAL, NOT_AVAILABLE, CNIError, Result
from cni_provision.net import link, moving, single, tun
from cni_provision.net.link import Link, Settings
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

LARGEST = 2**32 - 1


def number(call: Call, key: str) -> Optional[int]:
    return options.within(call.config, key, 0, LARGEST) if key in call.config else None


def settings(call: Call) -> Settings:
    mtu = options.within(call.config, "mtu", 0, 65535) or None
    mac = options.mac(call.config.text("mac"), options.mac_argument(call), call.runtime_config.text("mac"))
    return Settings(mtu=mtu, mac=mac)


def add(call: Call) -> Result:
    wanted = settings(call)
    with Socket(call.netns_fd) as inside, Undo() as undo:
        made = make(call, inside, undo)
        bridge = call.config.text("bridge")
        master = bridge_of(inside, bridge).index if bridge else None
        link.change(inside, made, Settings(mtu=wanted.mtu, mac=wanted.mac, master=master, up=True))
        made, planned = link.get(inside, call.ifname), ipam.lease(call, undo)
        # nobody has it open yet, so that it has no carrier, and duplicates could not be looked for
        result = interface.complete(call, inside, made, planned, detect_duplicates=False)
        undo.keep()
    return result


def make(call: Call, inside: Socket, undo: Undo) -> Link:
    assert call.netns_fd is not None
    context, several = call.config.text("selinuxContext"), call.config.boolean("multiQueue")
    owner, group = number(call, "owner"), number(call, "group")
    moving.refuse(inside, call.ifname, "the container")
    if context:
        given = (("user", owner), ("group", group))
        words = [word for name, value in given if value is not None for word in (name, str(value))]
        tun.make_labelled(call.netns_fd, call.ifname, context, ["multi_queue", *words] if several else words)
    else:
        tun.make_tap(call.netns_fd, call.ifname, multi_queue=several, owner=owner, group=group)
    undo.later(single.remove_from, inside, call.ifname, tun.KIND)
    return link.get(inside, call.ifname)


def bridge_of(inside: Socket, name: str) -> Link:
    found = link.find(inside, name)
    if found is None or found.kind != "bridge":
        raise CNIError(INTERNAL, f"failed to get bridge {name}: the container has no such bridge")
    return found


def delete(call: Call) -> None:
    interface.remove(call, tun.KIND)


def check(call: Call) -> None:
    wanted = settings(call)

    def unlike(found: Link) -> list[str]:
        wrong = wanted.mtu not in (None, found.mtu)
        bridge = call.config.text("bridge")
        with Socket(call.netns_fd) as inside:
            out = bool(bridge) and found.master != bridge_of(inside, bridge).index
        said = ((wrong, f"the MTU {found.mtu}, not {wanted.mtu}"), (out, f"no place in bridge `{bridge}`"))
        return [f"`{found.name}` has {what}" for is_so, what in said if is_so]

    interface.check(call, tun.KIND, unlike)


def status(call: Call) -> None:
    settings(call)
    if not os.access(tun.DEVICE, os.R_OK | os.W_OK):
        raise CNIError(NOT_AVAILABLE, f"{tun.DEVICE} cannot be opened: the kernel's module `tun` is missing")
    if call.config.text("selinuxContext") and not os.path.isdir("/sys/fs/selinux"):
        raise CNIError(NOT_AVAILABLE, "`selinuxContext` needs SELinux, which this host does not have")
    ipam.status(call)


PLUGIN = skel.Plugin(
    "tap", add, delete, check, status, ipam.gc, about="CNI tap plugin: a tap device in the container"
)

if __name__ == "__main__":
    skel.main(PLUGIN)
