"""dhcp: addresses of containers from a DHCP server of their network (IPAM).

The smallest configuration, below a plugin whose interfaces reach such a server (macvlan, bridge with an uplink):

    {"type": "macvlan", "master": "eth0", "ipam": {"type": "dhcp"}}

key                    default             meaning
ipam.daemonSocketPath  /run/cni/dhcp.sock  where the daemon listens
ipam.request           none                what else the server is asked for: [{"option": "121"}]; an entry with
                                           skipDefault leaves out `routers` and `subnet-mask`
ipam.provide           none                what the server is told: [{"option": "host-name", "value": "web"}], or with
                                           fromArg the value of a key in CNI_ARGS
ipam.priority          0                   the metric of the routes

An option is a number or one of dhcp-client-identifier, subnet-mask, routers, host-name, user-class,
vendor-class-identifier. The same executable is the daemon that keeps the leases: `dhcp daemon`, with the reference's
options. One that is started anew goes on with the leases that there are. IPv4 only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    DNS,
    INTERNAL,
    INVALID_CONFIG,
    NOT_AVAILABLE,
    TRY_AGAIN_LATER,
    CNIError,
    IPConfig,
    Result,
    Route,
)
from cni_provision.dhcp import question
from cni_provision.dhcp.question import Interface, NoDaemon
from cni_provision.net.nft import owner

NAMES = {"dhcp-client-identifier": 61, "subnet-mask": 1, "routers": 3, "host-name": 12, "user-class": 77,
         "vendor-class-identifier": 60}  # fmt: skip
USUAL = (3, 1)
LONGEST_VALUE = 255
LEASES = "/run/cni-provision/dhcp"
SCOPE_LINK = 253
SECONDS, LONGEST_SECONDS = 20.0, 600.0
NOT_AS_MADE = 100


def number_of(config: Config, key: str = "option") -> int:
    """An option by its name or number."""
    value = config.get(key)
    number = NAMES.get(str(value), value)
    text = str(number)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and 0 < int(text) < 255):
        raise CNIError(INVALID_CONFIG, f'Can not parse option "{value}": it is neither a known name nor a number')
    return int(text)


def provided(call: Call, ipam: Config) -> dict[str, str]:
    """Option number → value as hexadecimal digits."""
    given = call.args if any("fromArg" in each for each in ipam.mappings("provide")) else {}
    found = {}
    for each in ipam.mappings("provide"):
        value = given.get(each.text("fromArg"), each.text("value"))
        if len(value.encode()) > LONGEST_VALUE:
            raise CNIError(INVALID_CONFIG, f"value too long for option `{each.get('option')}`: `{value[:20]}...`")
        if value:
            found[str(number_of(each))] = value.encode().hex()
        else:
            number_of(each)
    return found


def requested(ipam: Config) -> list[int]:
    entries = ipam.mappings("request")
    found = [number_of(each) for each in entries if each.get("option") not in (None, "")]
    usual = () if any(each.boolean("skipDefault") for each in entries) else USUAL
    return list(dict.fromkeys([*found, *usual]))


def interface(call: Call) -> Interface:
    """Whose lease it is; on DEL also where the namespace is gone."""
    identity = (0, 0)
    if call.netns_fd is not None:
        about = os.fstat(call.netns_fd)
        identity = (about.st_dev, about.st_ino)
    return Interface(
        call.config.text("name"), call.container_id, call.ifname, os.path.abspath(call.absolute(call.netns)), identity
    )


def ask(call: Call, verb: str, seconds: float = SECONDS, more: Mapping[str, Any] | None = None) -> Any:
    """The daemon's answer; its errors are raised with their codes."""
    one = interface(call)
    words = [one.network, one.container_id, one.ifname, one.netns, *one.identity]
    told = question.ask(socket_path(call), {"verb": verb, "interface": words, **(more or {})}, seconds)
    if "error" in told:
        raise CNIError(int(told.get("code", INTERNAL)), f"DHCP: {told['error']}")
    return told["answer"]


def socket_path(call: Call) -> str:
    return call.absolute(call.config.mapping("ipam").text("daemonSocketPath") or question.SOCKET)


def add(call: Call) -> Result:
    ipam = call.config.mapping("ipam")
    priority = ipam.integer("priority")
    if not 0 <= priority < 2**32:
        raise ipam.error("priority", "must be from 0 to 4294967295")
    wishes = {"options": provided(call, ipam), "wanted": requested(ipam), "priority": priority}
    try:
        with call.away():
            told = ask(call, "ADD", LONGEST_SECONDS, wishes)
        return result(call, told, priority)
    except NoDaemon as error:
        raise CNIError(TRY_AGAIN_LATER, str(error.strerror)) from error


def result(call: Call, told: Mapping[str, Any], priority: int) -> Result:
    gateway = ip_address(told["gateway"]) if told["gateway"] else None
    routes = [
        Route(
            ip_network(destination),
            ip_address(via) if via else None,
            priority=priority or None,
            scope=None if via else SCOPE_LINK,
        )
        for destination, via in told["routes"]
    ]
    dns = DNS(tuple(told["nameservers"]), told["domain"])
    return Result(call.version, (), (IPConfig(ip_interface(told["address"]), gateway),), tuple(routes), dns)


def delete(call: Call) -> None:
    """Without a daemon nobody goes on with the lease: it ends by itself."""
    try:
        ask(call, "DEL")
    except NoDaemon:
        forget(owner(call.config.text("name"), call.container_id, call.ifname))


def forget(name: str) -> None:
    try:
        os.unlink(os.path.join(LEASES, name))
    except OSError:
        return


def check(call: Call) -> None:
    """The lease lives, and is that of the result."""
    told = ask_or_refuse(call, "CHECK")
    address = ip_interface(told["address"])
    expected = [ip.address for ip in call.prev_result.ips] if call.prev_result else [address]
    if address not in expected:
        had = ", ".join(map(str, expected)) or "none"
        raise CNIError(NOT_AS_MADE, f"the DHCP lease of `{call.ifname}` is {address} by now, the result has {had}")


def status(call: Call) -> None:
    ipam = call.config.mapping("ipam")
    requested(ipam)
    for each in ipam.mappings("provide"):
        number_of(each)
    ask_or_refuse(call, "STATUS")


def ask_or_refuse(call: Call, verb: str) -> Any:
    try:
        return ask(call, verb)
    except NoDaemon as error:
        raise CNIError(NOT_AVAILABLE, str(error.strerror)) from error


def gc(call: Call) -> None:
    """Without a daemon the files of leases that are not valid go, so that the next one does not go on with them."""
    network = call.config.text("name")
    try:
        ask(call, "GC", LONGEST_SECONDS, {"valid": list(map(list, call.valid_attachments))})
    except NoDaemon:
        valid = {owner(network, *each) for each in call.valid_attachments}
        start = owner(network, "", "")[:12]
        names = os.listdir(LEASES) if os.path.isdir(LEASES) else []
        for name in names:
            if name.startswith(start) and name not in valid:
                forget(name)


def daemon(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """`dhcp daemon …`; returns the process's exit code."""
    from cni_provision.dhcp import daemon as process

    return process.main(arguments, environment)


PLUGIN = skel.Plugin(
    "dhcp", add, delete, check, status, gc, about="CNI dhcp plugin (cni-provision)", programs={"daemon": daemon}
)
