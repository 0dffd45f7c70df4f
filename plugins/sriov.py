"""sriov: a virtual function of a network card becomes the container's interface.

The smallest configuration; mostly `deviceID` comes from a device plugin by way of `multi`:

    {"type": "sriov", "deviceID": "0000:3b:02.1", "ipam": {"type": "dhcp"}}

key                       default  meaning
deviceID                  needed   the function's PCI address; also as capability `deviceID`
vlan, vlanQoS, vlanProto  none     0 to 4094, 0 to 7, 802.1q or 802.1ad: the card tags what the container sends
mac                       card's   also by the capability `mac`, or MAC in CNI_ARGS
spoofchk, trust           card's   on or off
link_state                card's   auto, enable or disable
min_tx_rate, max_tx_rate  card's   Mbit/s, 0: no limit

One that is bound to a driver of userspace programs (vfio-pci, uio_pci_generic, igb_uio) has no interface: it gets its
settings and addresses in the result, and stays where it is. What was there before comes back with DEL, from
`/var/lib/cni/sriov`, whose files are those of the usual `sriov` plugin.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Optional

from cni_provision.attach import interface, ipam, options
from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    INVALID_CONFIG,
    NOT_AVAILABLE,
    TRY_AGAIN_LATER,
    CNIError,
    Interface,
    Result,
)
from cni_provision.cni.values import decode_object, encode
from cni_provision.net import link, netns, vf
from cni_provision.net.link import Link, Settings
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo
from cni_provision.net.vf import Vlan

DEVICES = "/sys/bus/pci/devices"
STATE = "/var/lib/cni/sriov"
USERSPACE = ("vfio-pci", "uio_pci_generic", "igb_uio")
NO_MAC = "00:00:00:00:00:00"
LOCK_SECONDS, PAUSE = 60.0, 0.05
ON_OFF = {"on": True, "off": False}


@dataclass(frozen=True)
class Device:
    """A virtual function: its card's interface, its number there, and its own interface, if it has one."""

    address: str
    physical: str
    number: int
    name: str
    userspace: bool


@dataclass(frozen=True)
class Before:
    """How a function was, and where it belongs: what DEL brings back. `own` is the interface's MAC address."""

    device: Device
    settings: vf.Settings
    own: str = ""
    mtu: int = 0


def address_of(call: Call) -> str:
    found = call.config.text("deviceID") or call.runtime_config.text("deviceID")
    if not found:
        raise CNIError(INVALID_CONFIG, "VF pci addr is required: `deviceID` is missing")
    if "/" in found or found.startswith("."):
        raise call.config.error("deviceID", "must be a PCI address")
    return found


def find(address: str) -> Device:
    folder = os.path.join(DEVICES, address)
    physical = next(iter(names_in(os.path.join(folder, "physfn", "net"))), "")
    if not physical:
        raise CNIError(
            INVALID_CONFIG, f"failed to get VF information: `{address}` is no virtual function of a card here"
        )
    name = next(iter(names_in(os.path.join(folder, "net"))), "")
    driver = os.path.basename(os.path.realpath(os.path.join(folder, "driver")))
    if not name and driver not in USERSPACE:
        problem = f"the VF {address} does not have a interface name or a dpdk driver"
        raise CNIError(INVALID_CONFIG, problem, f"its driver is `{driver}`")
    return Device(address, physical, number_of(folder), name, not name)


def number_of(folder: str) -> int:
    physical, own = os.path.join(folder, "physfn"), os.path.basename(folder)
    for entry in names_in(physical):
        target = os.path.basename(os.path.realpath(os.path.join(physical, entry)))
        if entry.startswith("virtfn") and target == own:
            return int(entry[len("virtfn") :])
    raise CNIError(INVALID_CONFIG, f"unable to get VF ID of `{own}`: its card does not list it")


def names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def wanted_by(call: Call) -> vf.Settings:
    """What the physical function is asked for, checked."""
    config = call.config
    runtime = call.runtime_config.text("mac") or options.mac_argument(call)
    rates = [max(0, config.integer(key)) for key in ("min_tx_rate", "max_tx_rate")]
    limited = "min_tx_rate" in config or "max_tx_rate" in config
    return vf.Settings(
        mac=options.mac(config.text("mac"), runtime),
        vlan=vlan_of(config),
        rates=(rates[0], rates[1]) if limited else None,
        check_source=one_of(config, "spoofchk", ON_OFF),
        trusted=one_of(config, "trust", ON_OFF),
        link_state=one_of(config, "link_state", vf.LINK_STATES),
    )


def one_of(config: Config, key: str, words: Mapping[str, Any]) -> Any:
    value = config.text(key)
    if value and value not in words:
        raise config.error(key, f"must be {' or '.join(words)}")
    return words[value] if value else None


def vlan_of(config: Config) -> Optional[Vlan]:
    number, priority = options.within(config, "vlan", 0, 4094), options.within(config, "vlanQoS", 0, 7)
    protocol = (config.text("vlanProto") or "802.1q").lower()
    if protocol not in vf.PROTOCOLS:
        raise config.error("vlanProto", "must be 802.1q or 802.1ad")
    if not number and (priority or protocol == "802.1ad" or ("vlan" not in config and "vlanQoS" in config)):
        raise CNIError(INVALID_CONFIG, "`vlanQoS` and `vlanProto` need a `vlan` that is not 0")
    return Vlan(number, priority, vf.PROTOCOLS[protocol]) if "vlan" in config else None


@contextmanager
def locked(address: str) -> Iterator[None]:
    """Nobody else, be it the usual plugin, has to do with this function meanwhile."""
    folder = os.path.join(STATE, "pci", "vf_lock")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(folder, f"{address}.lock"), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise CNIError(TRY_AGAIN_LATER, f"another call is at work with `{address}`") from error
                time.sleep(PAUSE)
        yield
    finally:
        os.close(descriptor)


def mark(address: str) -> str:
    """The file that says in which namespace a function is."""
    return os.path.join(STATE, "pci", address)


def refuse_allocated(address: str) -> None:
    """Unless the namespace that has it is gone."""
    try:
        with open(mark(address), encoding="utf-8") as file:
            fd = netns.open_path(file.read().strip())
    except OSError:
        remove_file(mark(address))
        return
    os.close(fd)
    raise CNIError(INVALID_CONFIG, f"pci address {address} is already allocated")


def remove_file(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def put(path: str, content: bytes) -> None:
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.rename(f"{path}.new", path)


def note_file(container_id: str, ifname: str) -> str:
    return os.path.join(STATE, f"{container_id}-{ifname}")


def noted(call: Call, before: Before) -> bytes:
    """As the usual plugin keeps it: the configuration, and how the function was."""
    device, was = before.device, before.settings
    vlan, rates = was.vlan or Vlan(0), was.rates or (0, 0)
    original = {
        "HostIFName": device.name, "SpoofChk": bool(was.check_source), "Trust": bool(was.trusted),
        "AdminMAC": was.mac or "", "EffectiveMAC": before.own, "Vlan": vlan.number, "VlanQoS": vlan.priority,
        "VlanProto": vlan.protocol, "MinTxRate": rates[0], "MaxTxRate": rates[1], "LinkState": was.link_state or 0,
        "MTU": before.mtu,
    }  # fmt: skip
    own = {"OrigVfState": original, "Master": device.physical, "VFID": device.number, "deviceID": device.address,
           "containerID": call.container_id, "ifname": call.ifname}  # fmt: skip
    kept = {key: value for key, value in call.config.raw.items() if key not in ("prevResult", "runtimeConfig")}
    return encode({**kept, **own})


def read_note(path: str) -> Optional[tuple[Config, Before]]:
    """(the configuration, how it was); None where there is none, or it is broken."""
    try:
        with open(path, "rb") as file:
            config = Config(decode_object(file.read()))
        was = config.mapping("OrigVfState")
        name = was.text("HostIFName")
        device = Device(config.text("deviceID"), config.text("Master"), config.integer("VFID"), name, not name)
        settings = vf.Settings(
            mac=was.text("AdminMAC") or None,
            vlan=Vlan(was.integer("Vlan"), was.integer("VlanQoS"), was.integer("VlanProto") or 0x8100),
            rates=(was.integer("MinTxRate"), was.integer("MaxTxRate")),
            check_source=was.boolean("SpoofChk"),
            trusted=was.boolean("Trust"),
            link_state=was.integer("LinkState"),
        )
        return config, Before(device, settings, was.text("EffectiveMAC"), was.integer("MTU"))
    except (OSError, CNIError):
        return None


def add(call: Call) -> Result:
    wanted, address = wanted_by(call), address_of(call)
    with locked(address), Socket() as host, Socket(call.netns_fd) as inside, Undo() as undo:
        refuse_allocated(address)
        device = find(address)
        before = state_of(host, device, wanted)
        undo.later(remove_file, note_file(call.container_id, call.ifname))
        put(note_file(call.container_id, call.ifname), noted(call, before))
        undo.later(vf.change, host, link.get(host, device.physical), device.number, before.settings.like(wanted))
        vf.change(host, link.get(host, device.physical), device.number, wanted)
        undo.later(remove_file, mark(address))
        put(mark(address), call.netns.encode())
        planned = ipam.lease(call, undo)
        result = described(call, before, wanted, planned)
        if not device.userspace:
            undo.later(take_out, host, call, before)
            inner = put_in(call, host, inside, before, wanted)
            result = interface.complete(call, inside, inner, planned)
        undo.keep()
    (own,) = result.interfaces
    return replace(result, interfaces=(replace(own, pci_id=address),))


def state_of(host: Socket, device: Device, wanted: vf.Settings) -> Before:
    """A card is asked only for what shall change: some know no settings of functions at all."""
    physical = link.get(host, device.physical)
    was = vf.read(host, physical, device.number) if wanted else vf.NOTHING
    if was is None:
        raise CNIError(INVALID_CONFIG, f"failed to find vf {device.number} of `{device.physical}`")
    if device.userspace:
        return Before(device, was)
    own = link.get(host, device.name)
    return Before(device, was, own.mac, own.mtu)


def put_in(call: Call, host: Socket, inside: Socket, before: Before, wanted: vf.Settings) -> Link:
    """The function's interface in the container, with the name that the runtime asks for."""
    if link.find(inside, call.ifname):
        raise CNIError(INVALID_CONFIG, f"the container has an interface `{call.ifname}` already")
    own = link.get(host, before.device.name)
    link.change(host, own, Settings(up=False))
    link.change(host, own, Settings(name=call.ifname, netns_fd=call.netns_fd))
    inner = link.get(inside, call.ifname)
    if wanted.mac:
        link.change(inside, inner, Settings(mac=wanted.mac))
        inner = link.get(inside, call.ifname)
    return inner


def take_out(host: Socket, call: Call, before: Before) -> None:
    """Back on the host under its name, as it was; the kernel brings it there where the namespace is gone."""
    if call.netns_fd is not None:
        own = os.open(netns.OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Socket(call.netns_fd) as inside:
                found = link.find(inside, call.ifname)
                if found:
                    link.change(inside, found, Settings(up=False))
                    link.change(inside, found, Settings(name=before.device.name, netns_fd=own))
        finally:
            os.close(own)
    name = next(iter(names_in(os.path.join(DEVICES, before.device.address, "net"))), before.device.name)
    found = link.find(host, before.device.name) or link.find(host, name)
    if found:
        changed = Settings(before.device.name, before.own or None, before.mtu or None, up=False)
        link.change(host, found, changed)


def described(call: Call, before: Before, wanted: vf.Settings, planned: Result) -> Result:
    """The result for a function that has no interface."""
    admin = before.settings.mac if before.settings.mac != NO_MAC else None
    own = Interface(call.ifname, wanted.mac or admin or "", call.netns)
    ips = tuple(replace(ip, interface=0) for ip in planned.ips)
    return replace(planned, cni_version=call.version, interfaces=(own,), ips=ips, dns=interface.dns(call, planned))


def delete(call: Call) -> None:
    """By what ADD has noted; each step is done even when another fails."""
    with ExitStack() as steps:
        ipam.delete_with(call, steps, lambda: give_back(call, note_file(call.container_id, call.ifname)))


def give_back(call: Call, path: str) -> None:
    """As it was before ADD; nothing noted is success."""
    known = read_note(path)
    if known is None:
        remove_file(path)
        return
    config, before = known
    with locked(before.device.address), Socket() as host, ExitStack() as steps:
        steps.callback(remove_file, path)
        steps.callback(remove_file, mark(before.device.address))
        if not before.device.userspace:
            steps.callback(take_out, host, call, before)
        steps.callback(reset, host, config, before)


def reset(host: Socket, config: Config, before: Before) -> None:
    """What the configuration had changed of the settings, as it was."""
    physical = link.find(host, before.device.physical)
    keys = ("vlan", "mac", "spoofchk", "trust", "link_state", "min_tx_rate", "max_tx_rate")
    changed = {key for key in keys if key in config} | {"mac"}
    was = before.settings
    wanted = vf.Settings(
        mac=was.mac,
        vlan=was.vlan if "vlan" in changed else None,
        rates=was.rates if changed & {"min_tx_rate", "max_tx_rate"} else None,
        check_source=was.check_source if "spoofchk" in changed else None,
        trusted=was.trusted if "trust" in changed else None,
        link_state=was.link_state if "link_state" in changed else None,
    )
    if physical:
        vf.change(host, physical, before.device.number, wanted)


def check(call: Call) -> None:
    wanted, known = wanted_by(call), read_note(note_file(call.container_id, call.ifname))
    if known is None:
        raise CNIError(interface.NOT_AS_MADE, f"nothing is noted of a virtual function for `{call.ifname}`")
    ipam.check(call)
    device, expected = known[1].device, interface.previous(call)
    with Socket() as host:
        there = vf.read(host, link.get(host, device.physical), device.number) if wanted else vf.NOTHING
    wrong = (
        []
        if (there or vf.NOTHING).like(wanted) == wanted
        else [f"`{device.address}` has other settings than asked for"]
    )
    if not device.userspace:
        with Socket(call.netns_fd) as inside:
            wrong += interface.missing(call, inside, expected)
    interface.refuse(call, wrong)


def status(call: Call) -> None:
    wanted_by(call)
    if not os.path.isdir(DEVICES):
        raise CNIError(NOT_AVAILABLE, "this machine has no PCI devices")
    try:
        if "deviceID" in call.config:
            find(address_of(call))
    except CNIError as error:
        raise CNIError(NOT_AVAILABLE, error.msg, error.details) from error
    ipam.status(call)


def gc(call: Call) -> None:
    """Functions of containers of this network that are not valid any more go back."""
    network = call.config.text("name")
    with ExitStack() as steps:
        steps.callback(ipam.gc, call)
        for file in names_in(STATE):
            known = read_note(os.path.join(STATE, file))
            if known and known[0].text("name") == network:
                container_id, _, ifname = file.rpartition("-")
                owner = known[0].text("containerID") or container_id, known[0].text("ifname") or ifname
                if owner not in call.valid_attachments:
                    stale = replace(call, command="DEL", container_id=owner[0], ifname=owner[1], netns_fd=None)
                    steps.callback(give_back, stale, os.path.join(STATE, file))


PLUGIN = skel.Plugin("sriov", add, delete, check, status, gc, about="CNI sriov plugin: virtual functions of cards")
