"""loopback: the `lo` of a container, brought up.

The smallest configuration, and there are no further keys:

    {"type": "loopback"}

The interface is `lo` whatever the runtime asks for. In a chain the result of the plugins before is handed on.
"""

from __future__ import annotations

import ipaddress

from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INTERNAL, CNIError, Interface, IPConfig, Result
from cni_provision.net import address, link
from cni_provision.net.address import Address
from cni_provision.net.link import Link, Settings
from cni_provision.net.rtnl import Socket

NAME = "lo"
OWN = (ipaddress.ip_interface("127.0.0.1/8"), ipaddress.ip_interface("::1/128"))
MAC = "00:00:00:00:00:00"


def result(call: Call, addresses: list[Address]) -> Result:
    """What `lo` has; the reference names its own addresses only."""
    present = {one.interface for one in addresses}
    ips = tuple(IPConfig(own, interface=0) for own in OWN if own in present)
    return Result(call.version, (Interface(NAME, MAC, call.netns),), ips)


def refuse_foreign(addresses: list[Address]) -> None:
    """An address of the network on `lo` means that this is no container's namespace."""
    foreign = [str(one.interface) for one in addresses if not one.interface.is_loopback]
    if foreign:
        raise CNIError(INTERNAL, f"loopback interface found with non-loopback address {', '.join(foreign)}")


def set_up(socket: Socket, lo: Link, *, up: bool) -> None:
    if lo.up != up:
        link.change(socket, lo, Settings(up=up))


def add(call: Call) -> Result:
    with Socket(call.netns_fd) as socket:
        lo = link.get(socket, NAME)
        refuse_foreign(address.dump(socket, lo))
        set_up(socket, lo, up=True)
        addresses = address.dump(socket, lo)
    return call.prev_result or result(call, addresses)


def delete(call: Call) -> None:
    if call.netns_fd is None:
        return
    with Socket(call.netns_fd) as socket:
        set_up(socket, link.get(socket, NAME), up=False)


def check(call: Call) -> None:
    with Socket(call.netns_fd) as socket:
        if not link.get(socket, NAME).up:
            raise CNIError(INTERNAL, f"interface `{NAME}` in `{call.netns}` is down")


PLUGIN = skel.Plugin("loopback", add, delete, check, about="CNI loopback plugin: brings a container's `lo` up")
