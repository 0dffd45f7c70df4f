"""dummy: an interface that leads nowhere, for addresses of services inside the container.

The smallest configuration:

    {"type": "dummy", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.0.0/24"}]]}}

key   default   meaning
ipam  (needed)  gives the addresses
dns   IPAM's    in the result
"""

from __future__ import annotations

from cni_provision.attach import interface, ipam
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import Result
from cni_provision.net import link, single
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

KIND = link.dummy()


def require_addresses(call: Call) -> None:
    ipam.require(call, "dummy interface requires an IPAM configuration")


def add(call: Call) -> Result:
    require_addresses(call)
    with Socket(call.netns_fd) as inside, Undo() as undo:
        made = single.make(inside, KIND, Settings(name=call.ifname), undo)
        planned = ipam.lease(call, undo)
        result = interface.complete(call, inside, made, planned, detect_duplicates=False)
        undo.keep()
    return result


def delete(call: Call) -> None:
    interface.remove(call, KIND.name)


def check(call: Call) -> None:
    require_addresses(call)
    interface.check(call, KIND.name)


def status(call: Call) -> None:
    require_addresses(call)
    with Socket() as host:
        interface.require_kinds(host, KIND.name)
    ipam.status(call)


PLUGIN = skel.Plugin("dummy", add, delete, check, status, ipam.gc, about="CNI dummy plugin: an interface to nowhere")

if __name__ == "__main__":
    skel.main(PLUGIN)
