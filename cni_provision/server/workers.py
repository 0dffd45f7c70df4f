"""Threads that do jobs in the order in which they came, a bounded number of them at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Job = Callable[[], None]


class Workers:
    """At most `limit` jobs are at work; those that are `away` do not count, so that waiting for a delegate, which may
    itself be a caller, never holds up everybody."""

    def __init__(self, limit: int, failed: Callable[[BaseException], None]) -> None:
        self._limit = limit
        self._failed = failed
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._idle = self._away = 0

    def submit(self, job: Job) -> None:
        self._jobs.put(job)
        self._grow()

    @contextmanager
    def away(self) -> Iterator[None]:
        """In a job: wait for somebody else while another job has one's place."""
        with self._lock:
            self._away += 1
        self._grow()
        try:
            yield
        finally:
            with self._lock:
                self._away -= 1

    def _grow(self) -> None:
        with self._lock:
            needed = self._jobs.qsize() > self._idle and self._threads - self._away < self._limit
            if needed:
                self._threads += 1
        if needed:
            threading.Thread(target=self._work, name="worker", daemon=True).start()

    def _work(self) -> None:
        while self._may_go_on():
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            try:
                job()
            except BaseException as error:
                self._failed(error)
            del job  # while it waits for the next one, nothing of this one is kept

    def _may_go_on(self) -> bool:
        """False for one too many: it was started while somebody was away."""
        with self._lock:
            too_many = self._threads - self._away > self._limit
            self._threads -= too_many
            self._idle += not too_many
            return not too_many
