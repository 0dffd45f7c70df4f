"""What plugins have in common that work on what the plugin before them in the list has made."""

from __future__ import annotations

from cni_provision.cni.call import Call
from cni_provision.cni.types import INVALID_CONFIG, CNIError, Result
from cni_provision.net import link
from cni_provision.net.link import Link
from cni_provision.net.rtnl import Socket


def previous(call: Call) -> Result:
    if call.prev_result is None:
        raise CNIError(INVALID_CONFIG, "must be called as chained plugin: `prevResult` is missing")
    return call.prev_result


def host_end(call: Call, host: Socket, before: Result) -> Link:
    """The host's end of the container's pair, which must be in the result of the plugins before."""
    if not before.interfaces:
        raise CNIError(INVALID_CONFIG, "no interfaces provided")
    with Socket(call.netns_fd) as inside:
        inner = link.find(inside, call.ifname)
    if inner is None or inner.kind != "veth":
        raise CNIError(INVALID_CONFIG, f"container interface {call.ifname} has no veth peer")
    outer = link.find_index(host, inner.parent)
    if outer is None or (outer.kind, outer.parent) != ("veth", inner.index):
        raise CNIError(INVALID_CONFIG, f"veth peer with index {inner.parent} is not in host ns")
    if not any(one.name == outer.name and not one.sandbox for one in before.interfaces):
        raise CNIError(INVALID_CONFIG, f"`prevResult` has no interface `{outer.name}` on the host")
    return outer
