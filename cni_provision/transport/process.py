"""A session over a local process: its stdin and stdout are the conversation, its stderr explains the end."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

from cni_provision.errors import NodeError
from cni_provision.transport.base import MARKER, skip_past

KEPT_STDERR = 16 * 1024
KEPT_NOISE = 1024  # of stdout: what a login says instead of running the program
BUFFER = 256 * 1024
GRACE = 5.0  # seconds between closing stdin and killing
Judge = Callable[[str, int], NodeError]


class ProcessSession:
    """`judge` turns stderr and exit code into the error that they mean; `resources` end with the session."""

    def __init__(self, process: Process, exited: asyncio.Event, judge: Judge, resources: AsyncExitStack) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._process = process
        self._exited = exited
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._judge = judge
        self._resources = resources
        self._said = bytearray()
        self._noise = b""
        self._spoke = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(process.stderr))

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        while block := await stderr.read(4096):
            self._said += block
            del self._said[:-KEPT_STDERR]
            self._spoke.set()

    @property
    def said(self) -> bytes:
        """The end of what the process has written to stderr until now."""
        return bytes(self._said)

    async def write(self, block: bytes) -> None:
        """Send bytes; a process that has ended takes them silently, its reply or its stderr says why."""
        if self._stdin.is_closing():  # asyncio would log a warning
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            self._stdin.write(block)
            await self._stdin.drain()

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes; raises `EOFError` at the end."""
        try:
            block = await self._stdout.readexactly(size)
        except asyncio.IncompleteReadError as end:
            self._noise += end.partial
            raise
        self._noise += block[: KEPT_NOISE - len(self._noise)]
        return block

    async def skip_past(self, marker: bytes) -> None:
        """Drop what is read until `marker` has been read; raises `EOFError` at the end."""
        await skip_past(self.read, marker)
        self._noise = b""

    async def hear(self, other: asyncio.Task[None]) -> None:
        """Wait until there is more in `said`, or `other` is done."""
        self._spoke.clear()
        hearing = asyncio.create_task(self._spoke.wait())
        await asyncio.wait({hearing, other}, return_when=asyncio.FIRST_COMPLETED)
        hearing.cancel()

    async def close(self) -> None:
        """Close stdin and wait for the end, `GRACE` seconds at most; then the local process is killed."""
        self._stdin.close()
        await self._end(GRACE)
        await self._resources.aclose()

    async def abandon(self) -> None:
        """End the local process at once; the node's program sees the end of its stdin."""
        await self._end(0)
        await self._resources.aclose()

    async def diagnosis(self) -> NodeError:
        """Why the conversation ended early: what stderr says, else what came on stdout before the conversation."""
        self._stdin.close()
        code = await self._end(GRACE)
        noise = b"" if MARKER in self._noise else self._noise
        return self._judge((self.said or noise).decode(errors="replace"), code)

    async def _end(self, grace: float) -> int:
        """The exit code. A kept master connection of `ssh` may hold stderr open, so its end is not waited for."""
        try:
            if not await _within(grace, self._exited):
                with suppress(ProcessLookupError, PermissionError):
                    self._process.kill()
                await _within(1.0, self._exited)
            await asyncio.wait({self._listener}, timeout=0.2)
        finally:
            self._listener.cancel()
        return self._process.returncode if self._process.returncode is not None else -9


class _Streams(SubprocessStreamProtocol):
    """Tells of the process's end by itself: `Process.wait` waits for the pipes too in some versions of Python."""

    def __init__(self) -> None:
        super().__init__(limit=BUFFER, loop=asyncio.get_running_loop())
        self.exited = asyncio.Event()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """A broken stdin is no news, see `ProcessSession.write`; Python 3.11.2 (Debian 12) would log it."""
        super().pipe_connection_lost(fd, None if fd == 0 else exc)

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def start(
    argv: Sequence[str], judge: Judge, resources: AsyncExitStack, environment: Mapping[str, str] | None = None
) -> ProcessSession:
    """Start `argv` in a session of its own, so that Ctrl-C reaches this program alone; raises `OSError`."""
    loop = asyncio.get_running_loop()

    try:
        pipes, streams = await loop.subprocess_exec(_Streams, *argv, env=environment, start_new_session=True)
    except BaseException:
        await resources.aclose()
        raise
    resources.callback(_close_pipes, pipes)
    return ProcessSession(Process(pipes, streams, loop), streams.exited, judge, resources)


def _close_pipes(pipes: asyncio.SubprocessTransport) -> None:
    """Our ends; others may stay open for as long as a descendant (a kept master connection) has them."""
    with suppress(PermissionError):
        pipes.close()
