"""The same question to many nodes at once: how many, in which order, and when to stop.

`run` never prints and never raises for one node's sake: each node ends as an `Outcome`, and what happens
is told by events as it happens. A node that is not reached costs its own connect time-out and nothing
else.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cni_provision import transport
from cni_provision.errors import Interrupted, NodeError, NodeFailed, NotStarted, TimedOut, UserError
from cni_provision.events import ApplyStart, Event, Progress
from cni_provision.fleet_conversation import conversation, converse
from cni_provision.fleet_events import told
from cni_provision.fleet_job import Blobs, Job, Outcome
from cni_provision.node import boot, bundle
from cni_provision.node.protocol import Reply
from cni_provision.transport.base import Secrets, Settings, Transport
from cni_provision.transport.diagnosis import CUT_OFF_HINT

__all__ = [
    "Blobs",
    "Job",
    "Options",
    "Outcome",
    "Portion",
    "Program",
    "RunInterrupted",
    "conversation",
    "converse",
    "run",
]

FILES_PER_NODE = 3  # the pipes of a session
FILES_OF_OURS = 64
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Emit = Callable[[Event], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Portion:
    """A number of nodes, or a percentage of them: what `--serial` and `--max-fail` take."""

    number: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Portion:
        """From `3` or `25%`; raises `UserError`."""
        found = re.fullmatch(r"(\d+)(%?)", text.strip())
        if not found or (found[2] and int(found[1]) > 100):
            raise UserError(
                f"`{text}` is neither a number of nodes nor a percentage", hint="for example `3` or `25%`"
            )
        return cls(int(found[1]), bool(found[2]))

    def of(self, total: int) -> int:
        """How many of `total` nodes, rounded down."""
        return total * self.number // 100 if self.percent else self.number


@dataclass(frozen=True)
class Program:
    """What runs on the nodes: its bytes, and the command that reads them (with the interpreter, if one is named)."""

    argv: Callable[[str | None], Sequence[str]] = boot.argv
    source: bytes = field(default_factory=bundle.program, repr=False)


@dataclass(frozen=True)
class Options:
    """How a fleet is served.

    `forks`: nodes at once (None: 8 a core, 64 at most). `serial`: nodes of one batch; without `max_fail`, a
    batch in which every node failed ends the run, as in Ansible. `max_fail`: how many may fail before no
    further node is started. `deadline`: seconds for one node, connecting included, None for no end.
    `jump_limit`: sessions at once through one jump host, whose SSH server drops connections beyond about
    ten (sshd_config(5), MaxStartups). `transports`: ready-made ones by kind, otherwise they are made.
    """

    forks: int | None = None
    serial: Portion | None = None
    max_fail: Portion | None = None
    deadline: float | None = 600.0
    jump_limit: int = 8
    secrets: Secrets = field(default_factory=Secrets)
    mux: bool = False
    connect_timeout: int = 10
    transports: Mapping[str, Transport] = field(default_factory=dict)
    program: Program | None = None


class RunInterrupted(Interrupted):
    """A signal ended the run: `outcomes` has every node, exit code 130 for SIGINT and 143 for SIGTERM."""

    def __init__(self, number: int, outcomes: tuple[Outcome, ...]) -> None:
        left = sum(isinstance(outcome.error, NotStarted) for outcome in outcomes)
        done = sum(outcome.reply is not None for outcome in outcomes)
        super().__init__(f"interrupted: {done} nodes done, {left} not started", hint="run again to do the rest")
        self.exit_code = 128 + number
        self.outcomes = outcomes


async def run(jobs: Sequence[Job], options: Options, emit: Emit) -> tuple[Outcome, ...]:
    """Ask every node; the outcomes are in the order of `jobs`.

    The first SIGINT or SIGTERM starts no further node, stops those that have not everything yet, and waits
    for the others; a second one waits for nobody. Raises `RunInterrupted` then, and `UserError` for a
    connection of unknown kind.
    """
    current = _Run(jobs, options, emit)
    with current.signals():
        outcomes = await current.batches()
    if current.signalled:
        raise RunInterrupted(current.signalled, outcomes)
    return outcomes


def forks_within(wanted: int | None, open_files: int) -> int:
    """How many nodes at once: what is wanted, as far as the limit on open files allows, and at least one."""
    at_once = wanted or min(64, 8 * (os.cpu_count() or 1))
    return max(1, min(at_once, (open_files - FILES_OF_OURS) // FILES_PER_NODE))


class _Run:
    """The state of one run: its semaphores, its failures, and why it stops."""

    def __init__(self, jobs: Sequence[Job], options: Options, emit: Emit) -> None:
        self.jobs = jobs
        self.options = options
        self.emit = emit
        self.program = options.program or Program()
        self.transports = self._transports()
        self.forks = asyncio.Semaphore(self._at_once())
        self.hops: dict[str, asyncio.Semaphore] = {}
        self.failures = 0
        self.halted = False
        self.stop = asyncio.Event()
        self.signalled = 0
        self.tasks: list[asyncio.Task[Outcome]] = []

    def _transports(self) -> dict[str, Transport]:
        settings = Settings(self.options.connect_timeout, self.options.mux)
        kinds = {job.node.connection.kind for job in self.jobs} - self.options.transports.keys()
        return {**self.options.transports, **{kind: transport.load(kind, settings) for kind in kinds}}

    def _at_once(self) -> int:
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        at_once = forks_within(self.options.forks, open_files)
        if at_once < (self.options.forks or 0):
            self.emit(Progress(f"{at_once} nodes at once, because of {open_files} open files (`ulimit -n`)"))
        return at_once

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle signals for the length of the run; outside of the main thread they stay the caller's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _interrupt(self, number: int) -> None:
        again = bool(self.signalled)
        self.signalled = self.signalled or number
        self.halted = True
        self.stop.set()
        if again:
            for task in self.tasks:
                task.cancel()

    async def batches(self) -> tuple[Outcome, ...]:
        """Every node's outcome, batch after batch."""
        size = max(1, self.options.serial.of(len(self.jobs))) if self.options.serial else len(self.jobs) or 1
        outcomes: list[Outcome] = []
        for start in range(0, len(self.jobs), size):
            batch = await self._batch(self.jobs[start : start + size])
            outcomes += batch
            if self.options.serial and not self.options.max_fail and all(outcome.failed for outcome in batch):
                self.halted = True
        return tuple(outcomes)

    async def _batch(self, jobs: Sequence[Job]) -> list[Outcome]:
        self.tasks = [asyncio.create_task(self._one(job)) for job in jobs]
        try:
            return await asyncio.gather(*self.tasks)
        finally:
            for task in self.tasks:
                task.cancel()

    async def _one(self, job: Job) -> Outcome:
        outcome = await self._turn(job)
        self.failures += outcome.failed
        if self.options.max_fail and self.failures > self.options.max_fail.of(len(self.jobs)):
            self.halted = True
        for event in told(job, outcome):
            self.emit(event)
        return outcome

    async def _turn(self, job: Job) -> Outcome:
        """Wait for a place and serve the node."""
        try:
            async with self._place(job):
                return await self._timed(job)
        except NodeError as error:
            return Outcome(job.node, error=_naming(error, job))
        except asyncio.CancelledError:
            if not self.signalled:
                raise
            return Outcome(job.node, error=_naming(NotStarted("not started"), job))

    @asynccontextmanager
    async def _place(self, job: Job) -> AsyncIterator[None]:
        """One of the places behind the node's jump host, then one of all; raises `NotStarted` once the run halts."""
        self._refuse_once_halted()
        hop = await self._transport(job).shared_hop(job.node.connection)
        async with AsyncExitStack() as places:
            if hop:
                limit = self.hops.setdefault(hop, asyncio.Semaphore(self.options.jump_limit))
                await places.enter_async_context(limit)
            await places.enter_async_context(self.forks)
            self._refuse_once_halted()
            yield

    def _refuse_once_halted(self) -> None:
        if self.halted:
            raise NotStarted("not started: interrupted" if self.signalled else "not started: too many nodes failed")

    def _transport(self, job: Job) -> Transport:
        return self.transports[job.node.connection.kind]

    async def _timed(self, job: Job) -> Outcome:
        clock = asyncio.get_running_loop().time
        began, reply, error = clock(), None, None
        if job.changes_the_node:
            self.emit(ApplyStart(job.node.name))
        try:
            async with asyncio.timeout(self.options.deadline):
                reply = await self._served(job)
        except NodeError as caught:
            error = _naming(caught, job)
        except TimeoutError:
            error = _naming(TimedOut(f"no answer within {self.options.deadline:g} s", hint=CUT_OFF_HINT), job)
        except asyncio.CancelledError:
            if not self.signalled:
                raise
            error = _naming(NodeFailed("cut off by a second signal", hint=CUT_OFF_HINT), job)
        return Outcome(job.node, reply, error, clock() - began)

    async def _served(self, job: Job) -> Reply:
        """Open a session and converse; whatever goes wrong, the session is ended at once."""
        connection = job.node.connection
        argv = self.program.argv(connection.python)
        opening = self._transport(job).open(job.node.name, connection, argv, self.options.secrets)
        session = await self._unless_stopped(opening)
        talking = converse(session, job.request, job.blobs, program=self.program.source, stop=self.stop)
        try:
            # a question may be broken off at any time, a change may not once the node has everything
            reply = await (talking if job.changes_the_node else self._unless_stopped(talking))
        except BaseException:
            await session.abandon()
            raise
        await session.close()
        return reply

    async def _unless_stopped(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """What `doing` returns; raises `NotStarted`, and cancels it, when a signal comes before."""
        task, stopping = asyncio.create_task(doing), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise NotStarted("interrupted before the node was asked")
            return await task
        finally:
            stopping.cancel()
            task.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)


def _naming(error: NodeError, job: Job) -> NodeError:
    """The error with its node's name, which deep code does not know."""
    error.node = error.node or job.node.name
    return error
