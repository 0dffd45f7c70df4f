"""Everything that a plugin has started and that still runs, found in /proc, to be ended with it.

A process belongs to a call when it is of the session that the plugin leads, descends from one that belongs, or has
the call's mark in its environment. What has left all three (`setsid`, a parent that ended, an environment of its own)
is a daemon by intent and goes on, as does what another user started where we are not root.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

MARK = "CNI_PROVISION_CALL"  # the environment variable; a call inside a call has the outer's mark before its own
_ROUNDS = 20  # in each, what was found is stopped, and cannot fork any more


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    session: int
    started: str  # in ticks since boot: tells a number that is used again


def mark(outer: str) -> str:
    """A new value of `MARK` for a call in an environment that has the value `outer`, or none."""
    return f"{outer}/{os.urandom(8).hex()}"


def end(leader: int, own: str) -> None:
    """Kill the leader and all that belongs to its call, which has the mark `own`."""
    known: dict[int, _Process] = {}
    for _ in range(_ROUNDS):
        found = [process for process in _members(leader, own) if process.pid not in known]
        for process in found:
            _signal(process, signal.SIGSTOP)
            known[process.pid] = process
        if not found:
            break
    for process in known.values():
        _signal(process, signal.SIGKILL)


def _members(leader: int, own: str) -> list[_Process]:
    processes = list(_processes())
    members = {leader} | {one.pid for one in processes if one.session == leader or _marked(one, own)}
    size = 0
    while size < len(members):
        size = len(members)
        members |= {one.pid for one in processes if one.parent in members}
    return [one for one in processes if one.pid in members]


def _marked(process: _Process, own: str) -> bool:
    with suppress(OSError), open(f"/proc/{process.pid}/environ", "rb") as file:
        return f"{MARK}={own}".encode() in file.read()
    return False


def _processes() -> Iterator[_Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                yield _read(int(name))


def _read(pid: int) -> _Process:
    """Raises OSError where it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return _Process(pid, int(fields[1]), int(fields[3]), fields[19].decode())


def _signal(process: _Process, number: int) -> None:
    """By a descriptor, and only where it is still the same process."""
    with suppress(OSError):
        descriptor = os.pidfd_open(process.pid)
        try:
            if _read(process.pid).started == process.started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
