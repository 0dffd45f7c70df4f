"""Filters of packets at a queueing discipline, by addresses, and what is done with what they match (tc-u32(8)).

Sources: `include/uapi/linux/pkt_cls.h`, `tc_act/tc_mirred.h`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Union

from cni_provision.net import rtnl
from cni_provision.net.link import Link
from cni_provision.net.qdisc import MESSAGE, TCA_KIND, TCA_OPTIONS
from cni_provision.net.rtnl import Request, Socket

RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
TCA_U32_CLASSID, TCA_U32_SEL, TCA_U32_ACT = 1, 5, 7
TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS = 1, 2, 2
TC_U32_TERMINAL, TC_ACT_STOLEN, TCA_EGRESS_REDIR = 1, 4, 1
SELECTOR = struct.Struct("=BBBxHHhhI")  # struct tc_u32_sel: flags, …, number of keys, …
KEY = struct.Struct("=4s4sii")  # struct tc_u32_key: mask, value, offset, …
MIRRED = struct.Struct("=IIiiiiI")  # struct tc_mirred: …, verdict, …, what to do, interface
ALL, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD
SOURCE, DESTINATION = "source", "destination"
OFFSETS = {(4, SOURCE): 12, (4, DESTINATION): 16, (6, SOURCE): 8, (6, DESTINATION): 24}

Subnet = Union[IPv4Network, IPv6Network]


@dataclass(frozen=True)
class Filter:
    """One u32 filter of `protocol` (an EtherType) at the discipline `parent`, its options raw."""

    parent: int
    protocol: int
    priority: int
    options: bytes

    def encode(self, index: int) -> bytes:
        """`struct tcmsg` and its attributes."""
        (protocol,) = struct.unpack("=H", struct.pack("!H", self.protocol))
        body = MESSAGE.pack(0, index, 0, self.parent, self.priority << 16 | protocol)
        return body + rtnl.text(TCA_KIND, "u32") + rtnl.nested(TCA_OPTIONS, self.options)


def redirection(parent: int, target: Link) -> Filter:
    """Everything leaves by `target` instead."""
    parameters = MIRRED.pack(0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, target.index)
    action = rtnl.text(TCA_ACT_KIND, "mirred")
    action += rtnl.nested(TCA_ACT_OPTIONS, rtnl.attribute(TCA_MIRRED_PARMS, parameters))
    options = _selector(KEY.pack(bytes(4), bytes(4), 0, 0)) + rtnl.nested(TCA_U32_ACT, rtnl.nested(1, action))
    return Filter(parent, ALL, 1, options)


def classification(parent: int, subnet: Subnet, side: str, class_id: int) -> Filter:
    """What comes from `subnet`, or goes to it (`side`), is of a class; that of minor number 0 has no limit."""
    offset, mask, value = OFFSETS[subnet.version, side], subnet.netmask.packed, subnet.network_address.packed
    keys = [KEY.pack(mask[at : at + 4], value[at : at + 4], offset + at, 0) for at in range(0, len(mask), 4)]
    protocol = IPV4 if subnet.version == 4 else IPV6
    return Filter(parent, protocol, subnet.version, rtnl.u32(TCA_U32_CLASSID, class_id) + _selector(*keys))


def _selector(*keys: bytes) -> bytes:
    head = SELECTOR.pack(TC_U32_TERMINAL, 0, len(keys), 0, 0, 0, 0, 0)
    return rtnl.attribute(TCA_U32_SEL, head + b"".join(keys))


def adding(link: Link, wanted: Filter) -> Request:
    flags = rtnl.CREATE | rtnl.EXCLUSIVE
    return Request(RTM_NEWTFILTER, wanted.encode(link.index), "add a filter to interface", link.name, flags)


def dump(socket: Socket, link: Link, parent: int) -> list[bytes]:
    """The options of the filters at a discipline, raw."""
    body = MESSAGE.pack(0, link.index, 0, parent, 0)
    answers = socket.dump(RTM_GETTFILTER, body, f"list the filters of `{link.name}`")
    found = [rtnl.attributes(answer[MESSAGE.size :]) for answer in answers]
    return [one[TCA_OPTIONS] for one in found if rtnl.string(one.get(TCA_KIND, b"")) == "u32" and TCA_OPTIONS in one]


def redirected(options: bytes) -> int:
    """The index of the interface by which packets leave instead; 0 where a filter does something else."""
    actions = rtnl.attributes(rtnl.attributes(options).get(TCA_U32_ACT, b""))
    for action in map(rtnl.attributes, actions.values()):
        if rtnl.string(action.get(TCA_ACT_KIND, b"")) == "mirred":
            parameters = rtnl.attributes(action[TCA_ACT_OPTIONS])[TCA_MIRRED_PARMS]
            return int(MIRRED.unpack_from(parameters)[-1])
    return 0


def classified(options: bytes) -> tuple[int, bytes]:
    """(class, selector's keys), to compare filters by what they do."""
    found = rtnl.attributes(options)
    keys = found.get(TCA_U32_SEL, b"")[SELECTOR.size :]
    return rtnl.number(found.get(TCA_U32_CLASSID, b"")), keys
