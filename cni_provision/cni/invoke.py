"""Find a plugin's executable and run it.

Children are made with `posix_spawn` and watched with one `poll`: no import of `subprocess` (10 ms, and a plugin
delegates on every call), and a child that ends while a process of its own holds stdout does not hold us.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from cni_provision.cni import names
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.types import INTERNAL, INVALID_CONFIG, IO_FAILURE, CNIError

MAX_OUTPUT = 16 << 20  # bytes of stdout, and of stderr
BUSY_SECONDS = 5.0  # how long an executable that is being replaced is tried again

_CHUNK = 65536


def find(plugin_type: str, path: Iterable[str]) -> str:
    """The first regular file of that name in the folders of CNI_PATH. Raises CNIError 7, with the whole path."""
    names.check_plugin(plugin_type)
    folders = [folder for folder in path if folder]
    if not folders:
        raise CNIError(INVALID_CONFIG, f"no paths provided to find plugin `{plugin_type}` in")
    for folder in folders:
        candidate = os.path.join(folder, plugin_type)
        with suppress(OSError):
            if stat.S_ISREG(os.stat(candidate).st_mode):
                return candidate
    raise CNIError(INVALID_CONFIG, f"failed to find plugin `{plugin_type}` in path [{' '.join(folders)}]")


def execute(program: str, environment: Mapping[str, str], stdin: bytes, timeout: float | None = None) -> Outcome:
    """Run one plugin to its end.

    With a `timeout` (seconds) it is the leader of a process group, and the whole group is killed when it is over;
    without one it stays in ours. Whatever is raised meanwhile also ends the child. Raises CNIError: 5 where it
    cannot be started, 999 after the timeout or after more than `MAX_OUTPUT` bytes.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with ExitStack() as stack:
        child = _spawn(program, environment, stdin, deadline, stack)
        while not child.step(_left(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                raise CNIError(INTERNAL, f"plugin `{program}` did not finish within {timeout:g} s and was killed")
        return child.outcome()


@dataclass
class _Child:
    """A running plugin, our ends of its pipes, and what went through them so far."""

    program: str
    stdin: int
    stdout: int
    stderr: int
    pending: memoryview
    grouped: bool
    pid: int = 0
    exit: int = -1  # a pidfd
    running: bool = False
    printed: dict[int, bytearray] = field(default_factory=dict)
    poller: select.poll = field(default_factory=select.poll)

    def watch(self) -> None:
        self.printed = {self.stdout: bytearray(), self.stderr: bytearray()}
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self.poller.register(self.stdin, select.POLLOUT)
        for descriptor in (self.stdout, self.stderr, self.exit):
            self.poller.register(descriptor, select.POLLIN)

    def step(self, seconds: float | None) -> bool:
        """Move bytes once, waiting at most so long; True when the child has ended and all is read."""
        ready = {descriptor for descriptor, _ in self.poller.poll(None if seconds is None else seconds * 1000)}
        if self.stdin in ready:
            self._feed()
        for descriptor in self.printed:
            if descriptor in ready:
                self._collect(descriptor)
        if self.exit in ready:
            for descriptor in self.printed:
                while self._collect(descriptor):
                    pass
        return self.exit in ready

    def outcome(self) -> Outcome:
        try:
            _, status = os.waitpid(self.pid, 0)
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        except ChildProcessError:  # our own parent left SIGCHLD ignored, so the kernel has reaped it
            code = 0
        self.running = False
        stdout, stderr = (bytes(self.printed[descriptor]) for descriptor in (self.stdout, self.stderr))
        return Outcome(code, stdout, stderr.decode("utf-8", "replace"))

    def end(self) -> None:
        if not self.running:
            return
        with suppress(ProcessLookupError):
            (os.killpg if self.grouped else os.kill)(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _feed(self) -> None:
        try:
            self.pending = self.pending[os.write(self.stdin, self.pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it may succeed without reading everything
            self.pending = self.pending[:0]
        if not self.pending:
            self.poller.unregister(self.stdin)
            os.close(self.stdin)
            self.stdin = -1

    def _collect(self, descriptor: int) -> bool:
        """Read once; False where nothing is there now."""
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            with suppress(KeyError):
                self.poller.unregister(descriptor)
            return False
        self.printed[descriptor] += chunk
        if len(self.printed[descriptor]) > MAX_OUTPUT:
            raise CNIError(
                INTERNAL, f"plugin `{self.program}` printed more than {MAX_OUTPUT >> 20} MiB and was killed"
            )
        return True


def _spawn(
    program: str, environment: Mapping[str, str], stdin: bytes, deadline: float | None, stack: ExitStack
) -> _Child:
    """Start it; the stack ends the child and closes every descriptor."""
    theirs, ours = [], []
    for number in range(3):
        reading, writing = os.pipe()
        theirs.append(writing if number else reading)
        ours.append(reading if number else writing)
    child = _Child(program, ours[0], ours[1], ours[2], pending=memoryview(stdin), grouped=deadline is not None)
    stack.callback(_close, child)
    try:
        child.pid = _start(program, environment, theirs, deadline)
        child.running = True
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    stack.callback(child.end)
    child.exit = os.pidfd_open(child.pid)
    child.watch()
    return child


def _close(child: _Child) -> None:
    for descriptor in (child.stdin, child.stdout, child.stderr, child.exit):
        if descriptor >= 0:
            os.close(descriptor)


def _start(program: str, environment: Mapping[str, str], ends: list[int], deadline: float | None) -> int:
    """The child's pid. An executable that somebody is writing (ETXTBSY) is tried again for a while."""
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(ends)]
    patience = min(time.monotonic() + BUSY_SECONDS, deadline or float("inf"))
    while True:
        try:
            return _posix_spawn(program, environment, actions, own_group=deadline is not None)
        except (OSError, ValueError) as error:
            busy = isinstance(error, OSError) and error.errno == errno.ETXTBSY
            if not busy or time.monotonic() >= patience:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise CNIError(IO_FAILURE, f"cannot execute plugin `{program}`: {reason}") from error
        time.sleep(0.05)


def _posix_spawn(
    program: str, environment: Mapping[str, str], actions: list[tuple[int, int, int]], *, own_group: bool
) -> int:
    # Python ignores SIGPIPE, and what is ignored stays so in a child.
    signals = [signal.SIGPIPE, signal.SIGXFSZ]
    if own_group:
        return os.posix_spawn(
            program, [program], environment, file_actions=actions, setsigdef=signals, setsigmask=[], setpgroup=0
        )
    return os.posix_spawn(program, [program], environment, file_actions=actions, setsigdef=signals, setsigmask=[])


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
