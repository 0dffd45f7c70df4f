"""Calls of one attachment (and plugin), one after the other in the order in which they came.

Who waits holds no thread: it is started when it is its turn. What two processes must not do at once is guarded by
locks on files; this keeps an undo in front of the call that came after it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

Key = tuple[str, ...]  # container id, ifname, plugin: a container has no two interfaces of one name


@dataclass(eq=False)
class Turn:
    """One call's place in the queue. `start` runs when those before it are done; `yields`: it only waits for an
    acknowledgement that may never come; `over`: the next one may have begun."""

    key: Key
    start: Callable[[], None] = field(repr=False)
    yields: bool = False
    over: bool = False


class Turns:
    """For any thread; `start` is called in the thread that ends the turn before it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[Key, deque[Turn]] = {}

    def take(self, turn: Turn) -> bool:
        """True if it may begin now; else it is started later."""
        with self._lock:
            queue = self._queues.setdefault(turn.key, deque())
            queue.append(turn)
            if queue[0].yields:
                queue.popleft().over = True
            return queue[0] is turn

    def let_pass(self, turn: Turn) -> None:
        """Its answer is out, and nobody says whether it was read: the next one need not wait for that."""
        with self._lock:
            turn.yields = True
            waiting = not turn.over and len(self._queues[turn.key]) > 1
        if waiting:
            self.end(turn)

    def settle(self, turn: Turn) -> bool:
        """It is known how the call ended, and its turn is its own to the end; False where the next one has begun."""
        with self._lock:
            turn.yields = False
            return not turn.over

    def end(self, turn: Turn) -> None:
        """The next one begins, if it has not yet."""
        following = self._following(turn)
        if following:
            following.start()

    def _following(self, turn: Turn) -> Optional[Turn]:
        with self._lock:
            if turn.over:
                return None
            turn.over = True
            queue = self._queues[turn.key]
            queue.popleft()
            if not queue:
                del self._queues[turn.key]
            return queue[0] if queue else None
