"""host-device: a device of the host moves into the container, and back.

The smallest configuration:

    {"type": "host-device", "device": "eth1"}

key         default  meaning
device      none     the device by its name
hwaddr      none     by its MAC address
kernelpath  none     by its folder below /sys/devices/
pciBusID    none     by its PCI address; one that a DPDK driver has stays where it is
ipam        none     without it the container gets no address
dns         IPAM's   in the result

Capability `deviceID`, a PCI address or a device of the auxiliary bus, goes before them. While it is away the
device keeps its name as alias; DEL gives it that name again, and leaves it down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Optional

from cni_provision.attach import interface, ipam, options
from cni_provision.attach.interface import attachment
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INVALID_CONFIG, NOT_AVAILABLE, CNIError, Interface, Result
from cni_provision.net import devices, link, moving, record
from cni_provision.net.link import Link
from cni_provision.net.record import Made
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

KEYS = ("device", "hwaddr", "kernelpath", "pciBusID")


@dataclass(frozen=True)
class Wanted:
    """Which device, by the first of these that is not empty; `in_userspace`: there is no interface to move."""

    device: str
    mac: Optional[str]
    path: str
    in_userspace: bool = False


def wanted(call: Call) -> Wanted:
    device, mac, path, address = (call.config.text(key) for key in KEYS)
    given = call.runtime_config.text("deviceID")
    bus = devices.bus_of(given) if given else ""
    if given and not bus:
        raise CNIError(INVALID_CONFIG, f"runtime config DeviceID {given} not found or unsupported")
    if bus == devices.PCI:
        address = given
    if not (device or mac or path or address or given):
        raise CNIError(INVALID_CONFIG, 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"')
    if path and not os.path.normpath(path).startswith(devices.DEVICES):
        raise CNIError(INVALID_CONFIG, f'kernel device path "{path}" must be absolute and begin with /sys/devices/')
    if address and "/" in address:
        raise call.config.error("pciBusID", "must be a PCI address")
    found = path or (os.path.join(devices.PCI, address) if address else os.path.join(devices.AUXILIARY, given))
    in_userspace = bool(address) and call.command != "DEL" and devices.in_userspace(address)
    return Wanted(device, options.mac(mac), found, in_userspace)


def find(host: Socket, which: Wanted) -> Link:
    """The device, which is on the host. CNIError 7 where it is not."""
    if which.mac and not which.device:
        found = next((one for one in link.dump(host) if one.mac == which.mac), None)
    else:
        found = link.find(host, which.device or devices.interface_at(which.path))
    if found is None:
        raise CNIError(INVALID_CONFIG, f"failed to find host device: there is no `{which.device or which.mac}`")
    return found


def add(call: Call) -> Result:
    which, mine = wanted(call), attachment(call, "host-device")
    with record.held(mine), Undo() as undo:
        result = (leave if which.in_userspace else attach)(call, which, undo)
        undo.keep()
    return result


def leave(call: Call, which: Wanted, undo: Undo) -> Result:
    """The device stays, and a program in the container uses it."""
    planned = ipam.lease(call, undo)
    own = (Interface(call.ifname, sandbox=call.netns),)
    ips = tuple(replace(ip, interface=0) for ip in planned.ips)
    return replace(planned, cni_version=call.version, interfaces=own, ips=ips, dns=interface.dns(call, planned))


def attach(call: Call, which: Wanted, undo: Undo) -> Result:
    mine = attachment(call, "host-device")
    assert call.netns_fd is not None
    with Socket() as host, Socket(call.netns_fd) as inside:
        device = find(host, which)
        undo.later(record.restore, mine, record.read(mine))
        record.write(mine, Made(device.name))
        lent = moving.lend(host, device, inside, call.netns_fd, call.ifname)
        with Undo() as taken_back:  # while the sockets are open
            taken_back.later(moving.undo, host, device, inside)
            result = interface.complete(call, inside, lent, ipam.lease(call, undo))
            taken_back.keep()
    return result


def delete(call: Call) -> None:
    """Each step is done even when another fails, the device first."""
    wanted(call)
    with ExitStack() as steps:
        steps.callback(ipam.delete, call)
        steps.callback(give_back, call)


def give_back(call: Call) -> None:
    mine = attachment(call, "host-device")
    with record.held(mine):
        name = (record.read(mine) or record.NOTHING).port
        if call.netns_fd is not None:
            with Socket(call.netns_fd) as inside:
                lent = link.find(inside, call.ifname)
                if lent:
                    moving.give_back(lent, inside, own_name(lent, name))
        if name:
            moving.rescue(name)
        record.remove(mine)


def own_name(lent: Link, noted: str) -> str:
    """The name that a device had on the host."""
    if not (lent.alias or noted):
        problem = f'failed to find original ifname for "{lent.name}" (alias is not set)'
        raise CNIError(INVALID_CONFIG, problem)
    return noted or lent.alias


def check(call: Call) -> None:
    if wanted(call).in_userspace:
        interface.previous(call)
        ipam.check(call)
    else:
        interface.check(call, "", unlike)


def unlike(found: Link) -> Iterator[str]:
    if not found.alias:
        yield f"`{found.name}` has no alias, so that nobody knows its own name"


def status(call: Call) -> None:
    """The device is on the host, or a container has it."""
    which = wanted(call)
    lent = [made.port for _, made in record.of_network("host-device", call.config.text("name"))]
    if not (which.in_userspace or lent):
        try:
            with Socket() as host:
                find(host, which)
        except (CNIError, OSError) as error:
            raise CNIError(NOT_AVAILABLE, str(error)) from error
    ipam.status(call)


def gc(call: Call) -> None:
    """Devices whose containers are gone get their names back."""
    with ExitStack() as steps:
        steps.callback(ipam.gc, call)
        for mine, made in record.of_network("host-device", call.config.text("name")):
            if (mine.container_id, mine.ifname) not in call.valid_attachments:
                steps.callback(record.remove, mine)
                steps.callback(moving.rescue, made.port)


ABOUT = "CNI host-device plugin: a device of the host"
PLUGIN = skel.Plugin("host-device", add, delete, check, status, gc, about=ABOUT)

if __name__ == "__main__":
    skel.main(PLUGIN)
