"""ipvlan: an interface that shares the MAC address of a host's interface, and has addresses of its own.

The smallest configuration:

    {"type": "ipvlan", "master": "eth1", "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]}}

key              default               meaning
master           of the default route  the interface that it is above; in a chain the one that `prevResult` has
mode             l2                    l2, l3 or l3s (ip-link(8))
mtu              the master's          at most the master's
linkInContainer  false                 the master is in the container
ipam             (needed)              gives the addresses; without it those of `prevResult` are taken over
dns              IPAM's                in the result
"""

from __future__ import annotations

from cni_provision.attach import interface, ipam, lower
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INVALID_CONFIG, CNIError, Result
from cni_provision.net import link
from cni_provision.net.link import IFLA_IPVLAN_MODE, Settings
from cni_provision.net.undo import Undo

KIND = "ipvlan"
MODES = {"l2": 0, "l3": 1, "l3s": 2}


def mode(call: Call) -> int:
    return lower.mode(call, KIND, MODES, "l2")


def master_name(call: Call) -> str:
    """Empty where the default route decides."""
    named, before = call.config.text("master"), call.prev_result
    if named or before is None or call.command != "ADD":
        return named
    if len(before.interfaces) != 1 or not before.interfaces[0].name:
        raise CNIError(INVALID_CONFIG, "chained master failure. PrevResult lacks a single named interface")
    return before.interfaces[0].name


def lease(call: Call, undo: Undo) -> Result:
    """Of IPAM, or taken over from the plugin before."""
    if not ipam.plugin(call) and call.prev_result is not None and call.prev_result.ips:
        return call.prev_result
    ipam.require(call, "`ipam` is missing, and there are no addresses of a plugin before to take over")
    return ipam.lease(call, undo)


def add(call: Call) -> Result:
    kind = link.ipvlan(mode(call))
    with lower.side(call) as socket:
        master = lower.find(call, socket, master_name(call))
    settings = Settings(name=call.ifname, mtu=lower.mtu(call, master))
    return lower.add(call, master, kind, settings, lease)


def delete(call: Call) -> None:
    """The master may be gone, and is not asked for."""
    interface.remove(call, KIND)


def check(call: Call) -> None:
    expected = mode(call)
    lower.check(call, KIND, lambda found: lower.in_mode(found, IFLA_IPVLAN_MODE, expected, MODES))


def status(call: Call) -> None:
    mode(call)
    lower.status(call, KIND)


PLUGIN = skel.Plugin("ipvlan", add, delete, check, status, ipam.gc, about="CNI ipvlan plugin: a shared MAC address")

if __name__ == "__main__":
    skel.main(PLUGIN)
