"""Descriptors on which something may come, watched by any number of threads: each event wakes one of them."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Optional

Job = Callable[[], None]
Arrival = Callable[[], Optional[Job]]  # what to do at once when it comes, and what there is to do then

_ONCE = select.EPOLLIN | select.EPOLLONESHOT


class Bell:
    """Wakes somebody who waits for `descriptor`; `rope` is what `signal.set_wakeup_fd` may pull. For any thread."""

    def __init__(self) -> None:
        self.descriptor, self.rope = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._open = True

    def ring(self) -> None:
        with self._lock, suppress(BlockingIOError):
            if self._open:
                os.write(self.rope, b"\0")

    def heard(self) -> None:
        """However often it rang, that was it."""
        os.read(self.descriptor, 4096)

    def close(self) -> None:
        """It rings no more; idempotent."""
        with self._lock:
            if self._open:
                os.close(self.descriptor)
                os.close(self.rope)
            self._open = False


class Watch:
    """For any thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._arrivals: dict[int, Arrival] = {}  # by descriptor; who takes one out has it alone
        self._bell = Bell()
        self.add(self._bell.descriptor, self._nudged)

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
        self._bell.ring()

    def close(self) -> None:
        """When nobody waits and nobody will."""
        self._epoll.close()
        self._bell.close()

    def _nudged(self) -> None:
        self._bell.heard()
        self.add(self._bell.descriptor, self._nudged)
