"""Who comes is judged and greeted here, and whoever waits for his caller waits here."""

from __future__ import annotations

import _socket
import heapq
import itertools
import select
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Optional

from cni_provision.server import wire
from cni_provision.server.catalogue import Catalogue
from cni_provision.server.counters import Counters
from cni_provision.server.log import INFORMATION, WARNING, Log, words
from cni_provision.server.peer import Files, Stranger, judge, own_place
from cni_provision.server.place import Place
from cni_provision.server.service import Conversation, Service
from cni_provision.server.watch import Bell, Job
from cni_provision.server.wire import Connection
from cni_provision.server.workers import Workers

AT_ONCE = 16
MOST_GUESTS = 1024
TELL_SECONDS = 1.0
DRAIN_SECONDS = 20.0
PAUSE_SECONDS = 0.01


class Door:
    """One server. `run` serves until `stop`, and finishes what has begun; its thread is the clock.

    Workers who have nothing to do accept callers, one at a time and each for himself.
    """

    def __init__(self, listener: socket.socket, place: Place, catalogue: Catalogue, log: Log) -> None:
        self._listener, self._place, self._catalogue, self._log = listener, place, catalogue, log
        self._own, self._files = own_place(), Files()
        self._counters = Counters(catalogue.build)
        self._workers = Workers(AT_ONCE, self._failed)
        self._service = Service(catalogue, self._counters, log, self._workers, self._park, self._later, self._closed)
        self._lock = threading.Lock()  # of what follows
        self._guests: set[Conversation] = set()
        self._timers: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._bell = Bell()
        self._told = 0
        self._deadline = 0.0

    @property
    def wakes(self) -> int:
        """A descriptor: what is written to it wakes the door, as `signal.set_wakeup_fd` does."""
        return self._bell.rope

    def run(self) -> None:
        self._listener.setblocking(False)
        self._workers.watch.add(self._listener.fileno(), self._welcome)
        self._workers.begin()
        self._tell()
        while not self._done():
            self._sleep()
            self._run_due()
        self._workers.close()
        self._tell()

    def stop(self) -> None:
        """From a signal handler or any thread: whoever comes from now on is told so."""
        self._deadline = self._deadline or time.monotonic() + DRAIN_SECONDS
        self._bell.ring()

    def close(self) -> None:
        """After `run`, where the process goes on."""
        self._bell.close()

    def _done(self) -> bool:
        if not self._deadline:
            return False
        return not self._guests or time.monotonic() >= self._deadline

    def _sleep(self) -> None:
        """Until the next timer, or until somebody wakes us."""
        with self._lock:
            ends = [self._timers[0][0]] if self._timers else []
        ends += [self._deadline] if self._deadline else []
        poller = select.poll()
        poller.register(self._bell.descriptor, select.POLLIN)
        if poller.poll(max(0.0, min(ends) - time.monotonic()) * 1000 if ends else None):
            self._bell.heard()

    def _run_due(self) -> None:
        now, due = time.monotonic(), []
        with self._lock:
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers)[2])
        for job in due:
            job()

    def _welcome(self) -> Optional[Job]:
        """Accept one; what is to be done for him. Others may come as soon as he is in."""
        stream = None
        try:
            # `accept` puts Python's own head on the socket, which takes 0.01 ms
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
            stream = _socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        except BlockingIOError:
            pass
        except OSError as error:  # no descriptors or no memory: those who are here will go
            self._log.line(WARNING, f"cannot accept: {error}")
            time.sleep(PAUSE_SECONDS)
        self._workers.watch.add(self._listener.fileno(), self._welcome)
        return self._greet(stream) if stream else None

    def _greet(self, stream: _socket.socket) -> Optional[Job]:
        """Serve him or say why not; either is told once and never taken back."""
        try:
            return self._admit(stream)
        except Stranger as stranger:
            reason = str(stranger)
            self._counters.cold(reason)
            self._tell_soon()
            self._log.line(INFORMATION, words(cold=reason))
            with suppress(OSError):
                stream.send(wire.greeting("cold", reason), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            stream.close()
        except OSError as error:
            self._log.line(WARNING, f"a caller was lost: {error}")
            stream.close()
        return None

    def _admit(self, stream: _socket.socket) -> Job:
        if self._deadline:
            raise Stranger("server ends")
        if len(self._guests) >= MOST_GUESTS:
            raise Stranger("busy")
        caller = judge(stream, self._own, self._files, self._catalogue.plugins)
        conversation = Conversation(Connection(stream), caller, self._catalogue.plugins[caller.digest])
        with self._lock:
            self._guests.add(conversation)
        self._tell_soon()
        try:
            stream.send(wire.greeting("ready", self._catalogue.build), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self._closed(conversation)
            raise
        return partial(self._service.begin, conversation)

    def _park(self, conversation: Conversation, resume: Job) -> None:
        """From a worker: go on when something comes, or when the caller hangs up."""
        self._workers.watch.add(conversation.connection.fileno(), lambda: resume)

    def _closed(self, conversation: Conversation) -> None:
        conversation.connection.close()
        with self._lock:
            self._guests.discard(conversation)
        if self._deadline:
            self._bell.ring()

    def _later(self, seconds: float, job: Job) -> None:
        with self._lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), job))
        self._bell.ring()

    def _tell_soon(self) -> None:
        """At most once in a while, and for the last time after the last request."""
        if not self._told:
            self._told = 1
            self._later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._told = 0
        self._place.tell(self._counters.snapshot())

    def _failed(self, error: BaseException) -> None:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._log.line(WARNING, f"a mistake of the server itself: {text}")
