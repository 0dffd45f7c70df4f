"""What the server counts since it began: requests and their times by verb, whom it did not serve and why."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any

VERBS = frozenset({"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"})
STEPS = 8  # of a duration's histogram, to the double: a quantile is right to 9 %
HIGHEST = 8 * 34  # 2^34 µs are 4.7 hours


class Durations:
    """A histogram of seconds in bounded memory."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        self._buckets[min(HIGHEST, max(0, round(math.log2(max(seconds, 1e-6) * 1e6) * STEPS)))] += 1

    def quantile(self, part: float) -> float:
        """In milliseconds; 0 where there is none."""
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= part * self.count:
                return round(2 ** (bucket / STEPS) / 1000, 3)
        return 0.0


class Counters:
    """For any thread."""

    def __init__(self, build: str) -> None:
        self._build = build
        self._started = time.time()
        self._lock = threading.Lock()
        self._verbs: dict[str, Durations] = {}
        self._cold: Counter[str] = Counter()
        self._undone = self._lost = 0

    def request(self, verb: str, seconds: float, code: int) -> None:
        with self._lock:
            durations = self._verbs.setdefault(verb if verb in VERBS else "other", Durations())
            durations.add(seconds)
            durations.failed += bool(code)

    def cold(self, reason: str) -> None:
        with self._lock:
            self._cold[reason] += 1

    def undone(self) -> None:
        """An ADD whose caller died."""
        with self._lock:
            self._undone += 1

    def lost(self) -> None:
        """A caller that hung up before it had said what it wanted, or did not speak as it should."""
        with self._lock:
            self._lost += 1

    def snapshot(self) -> dict[str, Any]:
        """As JSON: durations in milliseconds, `started` in seconds since the epoch."""
        with self._lock:
            return {
                "build": self._build,
                "started": int(self._started),
                "requests": {verb: _told(each) for verb, each in sorted(self._verbs.items())},
                "cold": dict(sorted(self._cold.items())),
                "undone": self._undone,
                "lost": self._lost,
            }


def _told(durations: Durations) -> dict[str, Any]:
    return {
        "count": durations.count,
        "failed": durations.failed,
        "p50_ms": durations.quantile(0.5),
        "p99_ms": durations.quantile(0.99),
    }
