"""vlan: the container in a VLAN (802.1Q) of a host's interface.

The smallest configuration:

    {"type": "vlan", "master": "eth1", "vlanId": 5,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]}}

key              default       meaning
master           (needed)      the interface that it is above
vlanId           0             0 to 4094; a master has each of them once
mtu              the master's  at most the master's
linkInContainer  false         the master is in the container
ipam             (needed)      gives the addresses
dns              IPAM's        in the result
"""

from __future__ import annotations

from collections.abc import Iterator

from cni_provision.attach import interface, ipam, lower
from cni_provision.cni import skel
from cni_provision.cni.skel import Call
from cni_provision.cni.types import INVALID_CONFIG, CNIError, Result
from cni_provision.net import link
from cni_provision.net.link import IFLA_VLAN_ID, Link, Settings
from cni_provision.net.rtnl import number

KIND = "vlan"
LAST_VLAN = 4094


def vlan(call: Call) -> int:
    """`vlanId`, once the rest of what is needed is there too."""
    if not call.config.text("master"):
        problem = '"master" field is required. It specifies the host interface name to create the VLAN for'
        raise CNIError(INVALID_CONFIG, problem)
    ipam.require(call, "`ipam` is missing: a vlan interface is of no use without addresses")
    vid = call.config.integer("vlanId")
    if not 0 <= vid <= LAST_VLAN:
        raise CNIError(INVALID_CONFIG, f"invalid VLAN ID {vid} (`vlanId` must be from 0 to {LAST_VLAN})")
    return vid


def add(call: Call) -> Result:
    kind = link.vlan(vlan(call))
    with lower.side(call) as socket:
        master = lower.find(call, socket, call.config.text("master"))
    settings = Settings(name=call.ifname, mtu=lower.mtu(call, master))
    return lower.add(call, master, kind, settings, ipam.lease)


def delete(call: Call) -> None:
    """The master may be gone, and is not asked for."""
    interface.remove(call, KIND)


def check(call: Call) -> None:
    vid, mtu = vlan(call), call.config.integer("mtu")

    def differences(found: Link) -> Iterator[str]:
        present = number(found.data.get(IFLA_VLAN_ID, b""))
        if present != vid:
            yield f"`{found.name}` is in VLAN {present}, not {vid}"
        if mtu not in (0, found.mtu):
            yield f"`{found.name}` has the MTU {found.mtu}, not {mtu}"

    lower.check(call, KIND, differences)


def status(call: Call) -> None:
    vlan(call)
    lower.status(call, KIND)


PLUGIN = skel.Plugin("vlan", add, delete, check, status, ipam.gc, about="CNI vlan plugin: a VLAN of an interface")

if __name__ == "__main__":
    skel.main(PLUGIN)
