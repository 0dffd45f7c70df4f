"""One lease: got from a server, renewed, given back. The interface follows what the server says later.

A lease that ends takes its address from the interface, and goes on asking for another one.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Optional

from cni_provision.dhcp import packet
from cni_provision.dhcp.exchange import Exchange, new_transaction
from cni_provision.dhcp.packet import ACK, DISCOVER, NAK, OFFER, RELEASE, REQUEST, Packet, Terms
from cni_provision.dhcp.question import Interface
from cni_provision.net import address, link, netns, route
from cni_provision.net.link import Link, Settings
from cni_provision.net.route import Route
from cni_provision.net.rtnl import NetlinkError, Socket, tolerating

FAST_TRIES, FAST_PAUSE = 4, 2.0
SLOW_PAUSE = 4.0
SHORTEST_WAIT = 1.0  # seconds between two tries to renew
JITTER = 1.0


class Gone(OSError):
    """The namespace or the interface is not there any more."""


class NoMoreTries(OSError):
    """No server has given an address in the time that there was."""


@dataclass(frozen=True)
class Patience:
    """Seconds: for one try, the longest pause between two, all in all."""

    timeout: float = 10.0
    longest_pause: float = 62.0
    whole: float = 208.0


@dataclass(frozen=True)
class Wishes:
    """What is told to the server. `options`: number → value; `wanted`: numbers; `prefix` comes before namespaces."""

    options: Mapping[int, bytes]
    wanted: tuple[int, ...]
    priority: int = 0
    broadcast: bool = False
    prefix: str = ""


@dataclass(frozen=True)
class Held:
    """What a lease is now: the server's terms, and since when, in seconds since the machine's start."""

    interface: Interface
    wishes: Wishes
    terms: Terms
    since: float

    @property
    def times(self) -> tuple[float, float, float]:
        """When it is to be renewed, rebound, and ends."""
        renewal, rebinding, end = self.terms.seconds
        return self.since + renewal, self.since + rebinding, self.since + end

    @property
    def lasting(self) -> bool:
        return self.terms.seconds[2] == packet.FOREVER or now() < self.times[2]


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def namespace(interface: Interface, wishes: Wishes) -> Iterator[int]:
    """A descriptor of the interface's namespace; `Gone` where that is another one or none."""
    try:
        fd = netns.open_path(wishes.prefix + interface.netns)
    except OSError as error:
        raise Gone(error.errno, f"`{interface.netns}` is gone: {error.strerror}") from error
    try:
        about = os.fstat(fd)
        if (about.st_dev, about.st_ino) != interface.identity:
            raise Gone(errno.ESTALE, f"`{interface.netns}` is another namespace by now")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened(interface: Interface, wishes: Wishes) -> Iterator[tuple[Socket, Link, Exchange]]:
    """The interface, which is up then, and what messages need."""
    with namespace(interface, wishes) as fd, Socket(fd) as socket:
        found = link.find(socket, interface.ifname)
        if found is None:
            raise Gone(errno.ENODEV, f"interface `{interface.ifname}` is gone")
        if not found.up:
            link.change(socket, found, Settings(up=True))
        with Exchange(fd, interface.ifname) as exchange:
            yield socket, found, exchange


def message(kind: int, interface: Interface, wishes: Wishes, found: Link, **addresses: bytes) -> Packet:
    """What all our messages have, and options of certain kinds (`requested`, `server`)."""
    options = {packet.KIND: bytes((kind,)), packet.CLIENT_ID: b"\0" + interface.client.encode()}
    numbers = {"requested": packet.REQUESTED, "server": packet.SERVER}
    options.update((numbers[name], value) for name, value in addresses.items())
    if kind != RELEASE:
        options.update(wishes.options)
        if wishes.wanted:
            options[packet.WANTED] = bytes(wishes.wanted)
    elif packet.CLIENT_ID in wishes.options:
        options[packet.CLIENT_ID] = wishes.options[packet.CLIENT_ID]
    mac = link.mac_bytes(found.mac)
    return Packet(packet.ASK, new_transaction(), mac, broadcast=wishes.broadcast, options=options)


def acquire(interface: Interface, wishes: Wishes, patience: Patience, stopped: Callable[[float], bool]) -> Held:
    """A new lease. `stopped` waits so many seconds, and says whether nobody wants it any more."""
    end = time.monotonic() + patience.whole
    for pause in pauses(patience):
        with opened(interface, wishes) as (_, found, exchange):
            left = end - time.monotonic()
            terms = try_once(interface, wishes, found, exchange, min(patience.timeout, max(left, 0.1)))
        if terms:
            return Held(interface, wishes, terms, now())
        if time.monotonic() + pause >= end or stopped(pause):
            break
    raise NoMoreTries(errno.ETIMEDOUT, f"no more tries: no DHCP server answers `{interface.ifname}`")


def pauses(patience: Patience) -> Iterator[float]:
    """Some short ones, then longer and longer ones (RFC 2131, 4.1)."""
    for _ in range(FAST_TRIES):
        yield FAST_PAUSE + random.uniform(-JITTER, JITTER)
    pause = SLOW_PAUSE
    while True:
        yield pause + random.uniform(-JITTER, JITTER)
        pause = min(pause * 2, patience.longest_pause)


def try_once(
    interface: Interface, wishes: Wishes, found: Link, exchange: Exchange, seconds: float
) -> Optional[Terms]:
    """DISCOVER, OFFER, REQUEST, ACK."""
    end = time.monotonic() + seconds
    discover = message(DISCOVER, interface, wishes, found)
    offer = exchange.ask(discover, {OFFER}, seconds)
    if offer is None or packet.SERVER not in offer.options:
        return None
    chosen = {"requested": offer.given.packed, "server": offer.options[packet.SERVER]}
    request = replace(message(REQUEST, interface, wishes, found, **chosen), transaction=discover.transaction)
    answer = exchange.ask(request, {ACK, NAK}, max(end - time.monotonic(), 1.0))
    return Terms(answer) if answer and answer.kind == ACK else None


def prolong(held: Held, patience: Patience, *, anybody: bool) -> Optional[Held]:
    """The lease renewed by its server, or by `anybody` who answers. None: no answer; `NoMoreTries`: refused."""
    with opened(held.interface, held.wishes) as (_, found, exchange):
        own = held.terms.packet.given
        request = replace(message(REQUEST, held.interface, held.wishes, found), own=own)
        server = None if anybody or held.terms.server == packet.NOBODY else held.terms.server
        answer = exchange.ask(request, {ACK, NAK}, patience.timeout, server)
    if answer and answer.kind == NAK:
        raise NoMoreTries(errno.EADDRNOTAVAIL, f"the server takes back {own}")
    return replace(held, terms=Terms(answer), since=now()) if answer else None


def release(held: Held) -> None:
    """Tell the server that nobody needs the address; that it does not hear it is fine."""
    try:
        with opened(held.interface, held.wishes) as (_, found, exchange):
            server = held.terms.server
            farewell = message(RELEASE, held.interface, held.wishes, found, server=server.packed)
            exchange.unicast(replace(farewell, own=held.terms.packet.given, broadcast=False), server)
    except (Gone, OSError):
        return


def follow(before: Held, after: Optional[Held]) -> None:
    """Give the interface what `after` says in place of `before`, where that differs; None: nothing any more."""
    old, new = before.terms, after.terms if after else None
    if new and (old.address, old.routes) == (new.address, new.routes):
        return
    with opened(before.interface, before.wishes) as (socket, found, _):
        if new and new.address and new.address != old.address:
            with tolerating(errno.EEXIST):
                address.add(socket, found, new.address)
        for way in routes(old, found, before.wishes.priority):
            with tolerating(errno.ESRCH, errno.ENETUNREACH, errno.EINVAL):
                route.delete(socket, way, found.name)
        if old.address and not (new and new.address == old.address):
            address.delete(socket, found, old.address)
        for way in routes(new, found, before.wishes.priority) if new else ():
            add_route(socket, way, found.name)


def add_route(socket: Socket, way: Route, ifname: str) -> None:
    try:
        route.add(socket, way, ifname)
    except NetlinkError as error:
        if error.errno not in (errno.EEXIST, errno.ENETUNREACH):  # a server's nonsense ends no lease
            raise


def routes(terms: Terms, found: Link, priority: int) -> list[Route]:
    return [
        Route(destination, gateway, found.index, priority=priority, scope=route.SCOPE_UNIVERSE if gateway else 253)
        for destination, gateway in terms.routes
    ]


class Keeper(threading.Thread):
    """Keeps one lease until it is stopped or its interface goes. `changed` hears of what it is now, None: nothing."""

    def __init__(
        self, held: Held, patience: Patience, changed: Callable[[Keeper, Optional[Held], str], None]
    ) -> None:
        super().__init__(name=held.interface.client, daemon=True)
        self.held = held
        self._patience = patience
        self._changed = changed
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        return not self._stop.is_set() and self.held.lasting

    def end(self, *, tell_server: bool) -> None:
        """Nobody changes anything of it after this."""
        with self._lock:
            was_stopped = self._stop.is_set()
            self._stop.set()
        if tell_server and not was_stopped and self.held.lasting:
            release(self.held)

    def run(self) -> None:
        try:
            while not self._stop.is_set():
                self._wait_and_prolong()
        except Gone as error:
            self._stop.set()
            self._changed(self, None, str(error))

    def _wait_and_prolong(self) -> None:
        renewal, rebinding, end = self.held.times
        if self.held.terms.seconds[2] == packet.FOREVER or self._stop.wait(max(renewal - now(), 0)):
            self._stop.wait()
            return
        try:
            while now() < end:
                after = prolong(self.held, self._patience, anybody=now() >= rebinding)
                if after:
                    self._become(after, "renewed")
                    return
                limit = rebinding if now() < rebinding else end
                if self._stop.wait(max((limit - now()) / 2, SHORTEST_WAIT)):
                    return
        except NoMoreTries as error:
            self._lose(str(error))
        except Gone:
            raise
        except OSError as error:  # the interface is down, the address gone: tried again
            if self._stop.wait(SHORTEST_WAIT) or now() < end:
                return
            self._lose(str(error))
        else:
            self._lose("it is over")

    def _lose(self, why: str) -> None:
        """Without its address, the interface waits for another one as long as it is there."""
        before = self.held
        self._tell(f"lost: {why}")
        follow(before, None)
        while not self._stop.is_set():
            try:
                after = acquire(before.interface, before.wishes, self._patience, self._stop.wait)
            except NoMoreTries:
                continue
            with self._lock:
                if not self._stop.is_set():
                    self.held = after
                    follow(replace(before, terms=nothing(before.terms)), after)
            self._tell("got again")
            return

    def _become(self, after: Held, how: str) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            before, self.held = self.held, after
            follow(before, after)
        self._tell(how)

    def _tell(self, how: str) -> None:
        if not self._stop.is_set():
            self._changed(self, self.held, how)


def nothing(terms: Terms) -> Terms:
    """As if no address had been given."""
    return Terms(replace(terms.packet, given=packet.NOBODY, options={}))
