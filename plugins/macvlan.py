"""macvlan: an interface with a MAC address of its own on the network of a host's interface.

The smallest configuration:

    {"type": "macvlan", "master": "eth1", "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]}}

key              default                  meaning
master           of the default route     the interface that it is above
mode             bridge                   bridge, private, vepa or passthru (ip-link(8))
mtu              the master's             at most the master's
mac              kernel's                 MAC address
linkInContainer  false                    the master is in the container
bcqueuelen       kernel's (1000)          broadcasts and multicasts that wait for delivery
ipam             none                     without it the container gets no address
dns              IPAM's                   in the result

The MAC address: capability `mac`, else `CNI_ARGS` `MAC`, else the key. Host and container do not reach each other.
"""

from __future__ import annotations

from cni_provision.attach import interface, ipam, lower, options
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import Result
from cni_provision.net import link
from cni_provision.net.link import IFLA_MACVLAN_MODE, Settings

KIND = "macvlan"
MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}


def mode(call: Call) -> int:
    return lower.mode(call, KIND, MODES, "bridge")


def add(call: Call) -> Result:
    queue = options.within(call.config, "bcqueuelen", 0, 2**32 - 1)
    kind = link.macvlan(mode(call), queue or None)
    mac = options.mac(call.config.text("mac"), options.mac_argument(call), call.runtime_config.text("mac"))
    with lower.side(call) as socket:
        master = lower.find(call, socket, call.config.text("master"))
    settings = Settings(name=call.ifname, mtu=lower.mtu(call, master), mac=mac)
    return lower.add(call, master, kind, settings, ipam.lease)


def delete(call: Call) -> None:
    """The master may be gone, and is not asked for."""
    interface.remove(call, KIND)


def check(call: Call) -> None:
    expected = mode(call)
    lower.check(call, KIND, lambda found: lower.in_mode(found, IFLA_MACVLAN_MODE, expected, MODES))


def status(call: Call) -> None:
    mode(call)
    lower.status(call, KIND)


PLUGIN = skel.Plugin("macvlan", add, delete, check, status, ipam.gc, about="CNI macvlan plugin: an own MAC address")

if __name__ == "__main__":
    skel.main(PLUGIN)
