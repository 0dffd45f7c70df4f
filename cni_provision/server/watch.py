"""Descriptors on which something may come, watched by any number of threads: each event wakes one of them."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Optional, Protocol

Job = Callable[[], None]
Arrival = Callable[[], Optional[Job]]  # what to do at once when it comes, and what there is to do then

_ONCE = select.EPOLLIN | select.EPOLLONESHOT


class Waited(Protocol):
    def fileno(self) -> int: ...


class Watch:
    """For any thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._arrivals: dict[int, Arrival] = {}
        self._nudges, self._nudging = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._expect_nudges()

    def add(self, waited: Waited, arrival: Arrival) -> None:
        """`next` gives `arrival` to one thread, once, when something has come there or its other end has gone."""
        self._add(waited.fileno(), arrival)

    def _add(self, descriptor: int, arrival: Arrival) -> None:
        with self._lock:
            self._arrivals[descriptor] = arrival
        self._epoll.register(descriptor, _ONCE)

    def next(self) -> Arrival:
        """Wait for it."""
        while True:
            for descriptor, _ in self._epoll.poll(maxevents=1):
                self._epoll.unregister(descriptor)
                with self._lock:
                    return self._arrivals.pop(descriptor)

    def nudge(self) -> None:
        """One thread that waits comes back with nothing."""
        with suppress(BlockingIOError):
            os.write(self._nudging, b"\0")

    def _expect_nudges(self) -> None:
        self._add(self._nudges, self._nudged)

    def _nudged(self) -> None:
        os.read(self._nudges, 4096)
        self._expect_nudges()
