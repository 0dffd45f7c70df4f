"""Virtual functions of a network card (SR-IOV), as the card's interface sets them.

Source: `include/uapi/linux/if_link.h`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from cni_provision.net import link, rtnl
from cni_provision.net.link import Link
from cni_provision.net.rtnl import Request, Socket

IFLA_VFINFO_LIST, IFLA_VF_INFO, RTEXT_FILTER_VF = 22, 1, 1
IFLA_VF_MAC, IFLA_VF_VLAN, IFLA_VF_SPOOFCHK, IFLA_VF_LINK_STATE, IFLA_VF_RATE = 1, 2, 4, 5, 6
IFLA_VF_TRUST, IFLA_VF_VLAN_LIST, IFLA_VF_VLAN_INFO = 9, 12, 1
MAC = struct.Struct("=I32s")  # struct ifla_vf_mac
SETTING = struct.Struct("=II")  # struct ifla_vf_spoofchk, …_link_state, …_trust
RATE = struct.Struct("=III")  # struct ifla_vf_rate: lowest, highest, in Mbit/s
VLAN = struct.Struct("=III")  # struct ifla_vf_vlan
VLAN_INFO = struct.Struct("=III2s2x")  # struct ifla_vf_vlan_info: …, protocol
PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}
LINK_STATES = {"auto": 0, "enable": 1, "disable": 2}


@dataclass(frozen=True)
class Vlan:
    number: int
    priority: int = 0
    protocol: int = PROTOCOLS["802.1q"]


@dataclass(frozen=True)
class Settings:
    """What a function is to have, or has; None leaves it alone. Rates: (lowest, highest) in Mbit/s, 0 is no limit."""

    mac: Optional[str] = None
    vlan: Optional[Vlan] = None
    rates: Optional[tuple[int, int]] = None
    check_source: Optional[bool] = None
    trusted: Optional[bool] = None
    link_state: Optional[int] = None

    def __bool__(self) -> bool:
        return self != NOTHING

    def encode(self, number: int) -> Iterator[tuple[str, bytes]]:
        """(what it is, attribute) of each; trust goes first, because some cards need it for the rest."""
        if self.trusted is not None:
            yield "trust", rtnl.attribute(IFLA_VF_TRUST, SETTING.pack(number, self.trusted))
        if self.vlan is not None:
            protocol = struct.pack("!H", self.vlan.protocol)
            entry = VLAN_INFO.pack(number, self.vlan.number, self.vlan.priority, protocol)
            yield "vlan", rtnl.nested(IFLA_VF_VLAN_LIST, rtnl.attribute(IFLA_VF_VLAN_INFO, entry))
        if self.mac is not None:
            yield "MAC address", rtnl.attribute(IFLA_VF_MAC, MAC.pack(number, link.mac_bytes(self.mac)))
        if self.rates is not None:
            yield "rates", rtnl.attribute(IFLA_VF_RATE, RATE.pack(number, *self.rates))
        if self.check_source is not None:
            yield "spoofchk", rtnl.attribute(IFLA_VF_SPOOFCHK, SETTING.pack(number, self.check_source))
        if self.link_state is not None:
            yield "link state", rtnl.attribute(IFLA_VF_LINK_STATE, SETTING.pack(number, self.link_state))

    def like(self, other: Settings) -> Settings:
        """Those of `self` that `other` names."""
        names = ("mac", "vlan", "rates", "check_source", "trusted", "link_state")
        return Settings(*(getattr(self, name) if getattr(other, name) is not None else None for name in names))


NOTHING = Settings()


def changing(physical: Link, number: int, wanted: Settings) -> list[Request]:
    """A request for each setting, so that an error says which one the card refuses."""
    head = link.INFO.pack(0, 0, physical.index, 0, 0)
    return [
        Request(
            rtnl.RTM_SETLINK,
            head + rtnl.nested(IFLA_VFINFO_LIST, rtnl.nested(IFLA_VF_INFO, attribute)),
            f"set the {what} of virtual function {number} of",
            physical.name,
        )
        for what, attribute in wanted.encode(number)
    ]


def change(socket: Socket, physical: Link, number: int, wanted: Settings) -> None:
    """One after the other: nothing more after the first that is refused."""
    for request in changing(physical, number, wanted):
        socket.perform(request)


def read(socket: Socket, physical: Link, number: int) -> Optional[Settings]:
    """All that a function has; None where the card has no such function."""
    body = link.INFO.pack(0, 0, physical.index, 0, 0) + rtnl.u32(link.IFLA_EXT_MASK, RTEXT_FILTER_VF)
    (answer,) = socket.request(rtnl.RTM_GETLINK, body, "find the virtual functions of", physical.name)
    return decode(answer, number)


def decode(body: bytes, number: int) -> Optional[Settings]:
    listed = rtnl.attributes(body, link.INFO.size).get(IFLA_VFINFO_LIST, b"")
    for _, encoded in rtnl.attribute_pairs(listed):
        found = rtnl.attributes(encoded)
        if MAC.unpack_from(found[IFLA_VF_MAC])[0] == number:
            return _settings(found)
    return None


def _settings(found: dict[int, bytes]) -> Settings:
    def setting(kind: int) -> Optional[int]:
        return int(SETTING.unpack_from(found[kind])[1]) if kind in found else None

    check, trusted = setting(IFLA_VF_SPOOFCHK), setting(IFLA_VF_TRUST)
    return Settings(
        mac=link.mac_text(MAC.unpack_from(found[IFLA_VF_MAC])[1][:6]),
        vlan=_vlan(found),
        rates=RATE.unpack_from(found[IFLA_VF_RATE])[1:] if IFLA_VF_RATE in found else None,
        check_source=None if check is None else check == 1,
        trusted=None if trusted is None else trusted == 1,
        link_state=setting(IFLA_VF_LINK_STATE),
    )


def _vlan(found: dict[int, bytes]) -> Optional[Vlan]:
    entry = rtnl.attributes(found.get(IFLA_VF_VLAN_LIST, b"")).get(IFLA_VF_VLAN_INFO)
    if entry:
        _, number, priority, protocol = VLAN_INFO.unpack_from(entry)
        return Vlan(number, priority, int(struct.unpack("!H", protocol)[0]))
    return Vlan(*VLAN.unpack_from(found[IFLA_VF_VLAN])[1:]) if IFLA_VF_VLAN in found else None
