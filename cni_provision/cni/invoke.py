"""Run a plugin's executable.

Children are made with `posix_spawn` and watched with one `epoll`: no import of `subprocess` (10 ms, and a plugin
delegates on every call). When a call fails, everything that it has started ends with it (`offspring`).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Generator, Mapping
from contextlib import suppress

from cni_provision.cni import offspring
from cni_provision.cni.outcome import Outcome, tail
from cni_provision.cni.steps import Wait, drive, wait
from cni_provision.cni.types import INTERNAL, IO_FAILURE, CNIError

MAX_OUTPUT = 16 << 20  # bytes of stdout, and of stderr
BUSY_SECONDS = 5.0  # how long an executable that is being replaced is tried again
HELD_SECONDS = 1.0  # how long what a plugin left behind may keep its stdout or stderr open

_CHUNK = 65536
_REAP_SECONDS = 0.2


def execute(program: str, environment: Mapping[str, str], stdin: bytes, timeout: float | None = None) -> Outcome:
    """Run one plugin to its end, in this thread; see `execution`."""
    return drive(execution(program, environment, stdin, timeout), wait)


def execution(
    program: str, environment: Mapping[str, str], stdin: bytes, timeout: float | None = None
) -> Generator[Wait, None, Outcome]:
    """Run one plugin to its end, as an operation.

    With a `timeout` (seconds) it leads a session of its own; without one it stays in our process group, so that
    whoever ends us ends it too. Raises CNIError: 5 where it cannot be started, 999 after the timeout, after more than
    `MAX_OUTPUT` bytes, and where something that it left behind holds its stdout or stderr. After any failure, also
    one that is raised at a step, nothing that it has started goes on, as far as `offspring` can find it.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    own = offspring.mark(environment.get(offspring.MARK, ""))
    child = _Child(program, {**environment, offspring.MARK: own}, stdin, leads=timeout is not None)
    try:
        yield from _start(child, deadline)
        while not child.ended:
            yield Wait(_left(deadline), child.readiness)
            child.move()
            if not child.ended and deadline is not None and time.monotonic() >= deadline:
                problem = f"plugin `{program}` did not finish within {timeout:g} s and was killed"
                raise CNIError(INTERNAL, problem, tail(child.log))
        yield from _drain(child, deadline)
        return child.outcome()
    except BaseException:
        child.kill(own)
        raise
    finally:
        child.close()


def _start(child: _Child, deadline: float | None) -> Generator[Wait, None, None]:
    """An executable that somebody is writing (ETXTBSY) is tried again for a while."""
    patience = min(time.monotonic() + BUSY_SECONDS, deadline or float("inf"))
    try:
        child.connect()
        while not child.start(may_be_busy=time.monotonic() < patience):
            yield Wait(0.05)
    except (OSError, ValueError) as error:
        problem = f"cannot execute plugin `{child.program}`: {_reason(child.program, error)}"
        raise CNIError(IO_FAILURE, problem) from error


def _reason(program: str, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.ENOENT and os.path.exists(program):
        return "its interpreter or loader does not exist"
    return os.strerror(error.errno or 0)


def _drain(child: _Child, deadline: float | None) -> Generator[Wait, None, None]:
    """Read what is left after the child's end; a process that keeps the pipe open would block other runtimes."""
    until = min(time.monotonic() + HELD_SECONDS, deadline or float("inf"))
    child.move()
    while child.printing:
        if time.monotonic() >= until:
            problem = f"plugin `{child.program}` left a process behind that holds its output open; it was killed"
            raise CNIError(INTERNAL, problem, tail(child.log))
        yield Wait(_left(until), child.readiness)
        child.move()


class _Child:
    """A plugin's process, our ends of its pipes, and what went through them so far."""

    def __init__(self, program: str, environment: Mapping[str, str], stdin: bytes, *, leads: bool) -> None:
        self.program = program
        self.environment = environment
        self.leads = leads
        self.pending = memoryview(stdin)
        self.printed = {1: bytearray(), 2: bytearray()}
        self.theirs: list[int] = []
        self.ours: dict[int, int] = {}  # descriptor → the number that its other end has in the plugin
        self.pid = 0
        self.exit = -1  # a pidfd
        self.ended = False
        self.poller: select.epoll

    @property
    def readiness(self) -> int:
        """A descriptor that is readable when there is something to `move`."""
        return self.poller.fileno()

    @property
    def printing(self) -> bool:
        """Whether somebody has its stdout or stderr."""
        return any(self.ours.values())

    @property
    def log(self) -> str:
        return self.printed[2].decode("utf-8", "replace")

    def connect(self) -> None:
        self.poller = select.epoll()
        for number in range(3):
            reading, writing = os.pipe()
            theirs, ours = (writing, reading) if number else (reading, writing)
            self.theirs.append(theirs)
            self.ours[ours] = number
            os.set_blocking(ours, False)
            self.poller.register(ours, select.EPOLLIN if number else select.EPOLLOUT)

    def start(self, *, may_be_busy: bool) -> bool:
        """False where the executable is being written."""
        try:
            self.pid = self._spawn()
        except OSError as error:
            if may_be_busy and error.errno == errno.ETXTBSY:
                return False
            raise
        while self.theirs:
            os.close(self.theirs.pop())
        self.exit = os.pidfd_open(self.pid)
        self.poller.register(self.exit, select.EPOLLIN)
        return True

    def _spawn(self) -> int:
        return os.posix_spawn(
            self.program,
            [self.program],
            self.environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs, number) for number, theirs in enumerate(self.theirs)],
            # Python ignores SIGPIPE, and what is ignored stays so in a child.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            setsigmask=[],
            setsid=self.leads,
        )

    def move(self) -> None:
        """Move what can be moved without waiting."""
        for descriptor, _ in self.poller.poll(0):
            if descriptor == self.exit:
                self.poller.unregister(self.exit)
                self.ended = True
            elif self.ours[descriptor]:
                self._collect(descriptor)
            else:
                self._feed(descriptor)

    def outcome(self) -> Outcome:
        try:
            _, status = os.waitpid(self.pid, 0)
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        except ChildProcessError:  # our own parent left SIGCHLD ignored, so the kernel has reaped it
            code = 0
        self.pid = 0
        return Outcome(code, bytes(self.printed[1]), self.log)

    def kill(self, own: str) -> None:
        if not self.pid:
            return
        offspring.end(self.pid, own)
        if self.exit >= 0 and select.select([self.exit], [], [], _REAP_SECONDS)[0]:
            _reap(self.pid)
        else:  # it sits in the kernel, where no signal reaches it
            import threading

            threading.Thread(target=_reap, args=(self.pid,), daemon=True).start()
        self.pid = 0

    def close(self) -> None:
        for descriptor in (*self.theirs, *self.ours, self.exit):
            if descriptor >= 0:
                os.close(descriptor)
        if self.ours or self.exit >= 0:
            self.poller.close()

    def _feed(self, descriptor: int) -> None:
        try:
            self.pending = self.pending[os.write(descriptor, self.pending[:_CHUNK]) :]
        except BrokenPipeError:  # it may succeed without reading everything
            self.pending = self.pending[:0]
        if not self.pending:
            self._finish(descriptor)

    def _collect(self, descriptor: int) -> None:
        chunk = os.read(descriptor, _CHUNK)
        printed = self.printed[self.ours[descriptor]]
        printed += chunk
        if not chunk:
            self._finish(descriptor)
        elif len(printed) > MAX_OUTPUT:
            problem = f"plugin `{self.program}` printed more than {MAX_OUTPUT >> 20} MiB and was killed"
            raise CNIError(INTERNAL, problem)

    def _finish(self, descriptor: int) -> None:
        self.poller.unregister(descriptor)  # closing is not enough: the child has it too, until its exec is complete
        del self.ours[descriptor]
        os.close(descriptor)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
