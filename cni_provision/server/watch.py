"""Descriptors on which something may come, watched by any number of threads: each event wakes one of them."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Optional

Job = Callable[[], None]
Arrival = Callable[[], Optional[Job]]  # what to do at once when it comes, and what there is to do then

_ONCE = select.EPOLLIN | select.EPOLLONESHOT


class Watch:
    """For any thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._arrivals: dict[int, Arrival] = {}  # by descriptor; who takes one out has it alone
        self._nudges, self._nudging = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.add(self._nudges, self._nudged)

    def add(self, descriptor: int, arrival: Arrival) -> None:
        """`next` gives `arrival` to one thread, once, when something has come there or its other end has gone."""
        self._arrivals[descriptor] = arrival
        try:
            self._epoll.modify(descriptor, _ONCE)
        except FileNotFoundError:  # for the first time
            self._epoll.register(descriptor, _ONCE)

    def next(self) -> Arrival:
        """Wait for it."""
        while True:
            for descriptor, _ in self._epoll.poll(None, 1):
                return self._arrivals.pop(descriptor)

    def nudge(self) -> None:
        """One thread that waits comes back with nothing."""
        with suppress(BlockingIOError):
            os.write(self._nudging, b"\0")

    def _nudged(self) -> None:
        os.read(self._nudges, 4096)
        self.add(self._nudges, self._nudged)
