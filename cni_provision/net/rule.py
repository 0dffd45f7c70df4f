"""Rules that say in which table routes are looked up, by source address (ip-rule(8), `linux/fib_rules.h`)."""

from __future__ import annotations

import errno
import ipaddress
import struct
from _socket import AF_INET, AF_INET6
from dataclasses import dataclass
from typing import Optional

from cni_provision.net import rtnl
from cni_provision.net.rtnl import IPAddress, Request, Socket

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
MESSAGE = struct.Struct(
    "=BBBBBxxBI"
)  # struct fib_rule_hdr: family, destination and source length, TOS, table, action
FRA_SRC, FRA_PRIORITY, FRA_TABLE = 2, 6, 15
TO_TABLE = 1


@dataclass(frozen=True)
class Rule:
    """What comes from one address is looked up in `table`; `source` is None where a rule is about something else."""

    source: Optional[IPAddress]
    table: int
    priority: int = 0  # 0: the kernel chooses, in front of all


def encode(rule: Rule) -> bytes:
    assert rule.source is not None
    family, length = (AF_INET, 32) if rule.source.version == 4 else (AF_INET6, 128)
    body = MESSAGE.pack(family, 0, length, 0, rule.table if rule.table < 256 else 0, TO_TABLE, 0)
    body += rtnl.attribute(FRA_SRC, rule.source.packed) + rtnl.u32(FRA_TABLE, rule.table)
    return body + (rtnl.u32(FRA_PRIORITY, rule.priority) if rule.priority else b"")


def decode(body: bytes) -> Rule:
    """A rule from an RTM_NEWRULE message; a source that is a whole network counts as something else."""
    _, _, length, _, table, _, _ = MESSAGE.unpack_from(body)
    found = rtnl.attributes(body, MESSAGE.size)
    source = found.get(FRA_SRC, b"")
    return Rule(
        source=ipaddress.ip_address(source) if source and length == 8 * len(source) else None,
        table=rtnl.number(found[FRA_TABLE]) if FRA_TABLE in found else table,
        priority=rtnl.number(found.get(FRA_PRIORITY, b"")),
    )


def adding(rule: Rule) -> Request:
    flags = rtnl.CREATE | rtnl.EXCLUSIVE
    return Request(RTM_NEWRULE, encode(rule), f"add the rule for {rule.source} and table {rule.table}", flags=flags)


def deleting(rule: Rule) -> Request:
    """That it is gone already is success."""
    what = f"delete the rule for {rule.source} and table {rule.table}"
    return Request(RTM_DELRULE, encode(rule), what, tolerated=(errno.ENOENT,))


def dump(socket: Socket) -> list[Rule]:
    """The rules of both families."""
    return [
        decode(answer)
        for family in (AF_INET, AF_INET6)
        for answer in socket.dump(RTM_GETRULE, MESSAGE.pack(family, 0, 0, 0, 0, 0, 0), "list rules")
    ]
