"""Leases as files, for a daemon that is started anew: `<folder>/<attachment's hash>`, gone with the machine's start.

DEL removes the file also where no daemon runs, so that none goes on with the lease.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from cni_provision.cni import jsontext
from cni_provision.dhcp import packet
from cni_provision.dhcp.lease import Held, Wishes
from cni_provision.dhcp.packet import Terms
from cni_provision.dhcp.question import Interface
from cni_provision.net import nft

FOLDER = "/run/cni-provision/dhcp"
FORMAT = 1
LARGEST = 1 << 18


def name_of(interface: Interface) -> str:
    return nft.owner(interface.network, interface.container_id, interface.ifname)


def keep(folder: str, held: Held) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    final = os.path.join(folder, name_of(held.interface))
    descriptor = os.open(f"{final}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, jsontext.encode(encode(held)).encode())
    finally:
        os.close(descriptor)
    os.rename(f"{final}.new", final)


def forget(folder: str, interface: Interface) -> None:
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, name_of(interface)))


def every(folder: str) -> Iterator[Held]:
    """All that can be read and are root's; what is broken is as good as none."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.endswith(".new"))
    except FileNotFoundError:
        return
    for name in names:
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield decode(jsontext.Decoder(float, float).decode(_content(os.path.join(folder, name))))


def _content(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise ValueError("another's file")
        return os.read(descriptor, LARGEST).decode()
    finally:
        os.close(descriptor)


def encode(held: Held) -> dict[str, Any]:
    one, wishes = held.interface, held.wishes
    return {
        "format": FORMAT,
        "interface": [one.network, one.container_id, one.ifname, one.netns, *one.identity],
        "options": {str(number): value.hex() for number, value in wishes.options.items()},
        "wanted": list(wishes.wanted),
        "priority": wishes.priority,
        "broadcast": wishes.broadcast,
        "prefix": wishes.prefix,
        "answer": held.terms.packet.encode().hex(),
        "since": held.since,
    }


def decode(content: dict[str, Any]) -> Held:
    if content["format"] != FORMAT:
        raise ValueError("another format")
    network, container_id, ifname, netns, device, inode = content["interface"]
    options = {int(number): bytes.fromhex(value) for number, value in content["options"].items()}
    interface = Interface(network, container_id, ifname, netns, (int(device), int(inode)))
    wanted, prefix = tuple(map(int, content["wanted"])), str(content["prefix"])
    wishes = Wishes(options, wanted, int(content["priority"]), content["broadcast"] is True, prefix)
    terms = Terms(packet.decode(bytes.fromhex(content["answer"])))
    return Held(interface, wishes, terms, float(content["since"]))
