"""Limits for the packets that leave by an interface, and another way for those that arrive by one.

Without subnets a token bucket (tbf) paces everything, as the reference has it. With subnets there is one class (htb)
for what has a limit, and filters by the address of the other side; the rest leaves as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cni_provision.net import filter, qdisc
from cni_provision.net.filter import Filter, Subnet
from cni_provision.net.link import Link
from cni_provision.net.qdisc import INGRESS, ROOT, Shape
from cni_provision.net.rtnl import Request, Socket

CLASS, WAITING_PACKETS = 48, 1000


@dataclass(frozen=True)
class Limit:
    """`shape` for what is exchanged with `subnets` (none: with everybody), or with all others (`inverse`).

    `side` is where a packet has the other's address: `filter.SOURCE` or `filter.DESTINATION`.
    """

    shape: Shape
    side: str
    subnets: tuple[Subnet, ...] = ()
    inverse: bool = False

    @property
    def kind(self) -> str:
        return "htb" if self.subnets else "tbf"

    @property
    def filters(self) -> list[Filter]:
        chosen = qdisc.handle(1, 0 if self.inverse else CLASS)
        return [filter.classification(qdisc.handle(1), subnet, self.side, chosen) for subnet in self.subnets]


def limiting(target: Link, limit: Limit) -> Iterator[Request]:
    """What paces packets that leave by `target`, in place of what is there."""
    yield qdisc.deleting(target, ROOT)
    if limit.kind == "tbf":
        yield qdisc.adding(target, qdisc.tbf(limit.shape))
        return
    yield qdisc.adding(target, qdisc.htb(CLASS if limit.inverse else 0, WAITING_PACKETS))
    yield qdisc.adding_class(target, qdisc.htb_class(CLASS, limit.shape))
    yield qdisc.adding(target, qdisc.queue(CLASS, limit.shape.limit))
    yield from (filter.adding(target, one) for one in limit.filters)


def redirecting(source: Link, target: Link) -> Iterator[Request]:
    """What arrives by `source` leaves by `target`, in place of what is done with it now."""
    yield qdisc.deleting(source, INGRESS)
    yield qdisc.adding(source, qdisc.ingress())
    yield filter.adding(source, filter.redirection(qdisc.ingress().handle, target))


def freeing(target: Link) -> tuple[Request, Request]:
    """Neither limit nor redirection."""
    return qdisc.deleting(target, ROOT), qdisc.deleting(target, INGRESS)


def redirects(socket: Socket, source: Link, target: Link) -> bool:
    return target.index in map(filter.redirected, filter.dump(socket, source, qdisc.ingress().handle))


def unlike(socket: Socket, target: Link, limit: Limit) -> list[str]:
    """What is not as `limiting` left it, as sentences."""
    found = qdisc.find(socket, target, ROOT)
    if found is None or found.kind != limit.kind:
        return [f"Failed to find qdisc: `{target.name}` has no `{limit.kind}`"]
    if limit.kind == "tbf":
        return _unlike_bucket(target, limit.shape, *qdisc.described(found))
    chosen = qdisc.find_class(socket, target, qdisc.handle(1, CLASS))
    if chosen is None:
        return [f"Failed to find qdisc: `{target.name}` has no class {CLASS}"]
    rate, ticks, _ = qdisc.described(chosen)
    wrong = _unlike_bucket(target, limit.shape, rate, ticks, limit.shape.limit)
    there = {filter.classified(one) for one in filter.dump(socket, target, qdisc.handle(1))}
    if any(filter.classified(one.options) not in there for one in limit.filters):
        wrong.append(f"`{target.name}` has not the filters of `{'un' * limit.inverse}shapedSubnets`")
    return wrong


def _unlike_bucket(target: Link, shape: Shape, rate: int, ticks: int, waiting: int) -> list[str]:
    wrong = []
    if rate != shape.rate:
        wrong.append(f"Rate doesn't match: `{target.name}` has {rate * 8} bits a second, not {shape.rate * 8}")
    if ticks not in (shape.ticks, shape.wrapped_ticks):
        wrong.append(f"Buffer doesn't match: the burst of `{target.name}` takes {ticks} ticks, not {shape.ticks}")
    if waiting != shape.limit:
        wrong.append(f"Limit doesn't match: {waiting} bytes may wait at `{target.name}`, not {shape.limit}")
    return wrong
