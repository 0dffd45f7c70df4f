"""One run at a time on a node."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator

from cni_provision.node import files, paths
from cni_provision.node.failure import Failure

PAUSE = 0.1


@contextlib.contextmanager
def held(by: str, since: str, timeout: float) -> Iterator[None]:
    """Hold the node's lock; raises `Failure` (busy) when another run has it for longer than `timeout` seconds."""
    _make_state()
    with files.opened(paths.LOCK, os.O_RDWR | os.O_CREAT) as descriptor:
        _wait(descriptor, time.monotonic() + timeout)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"by": by, "since": since}).encode(), 0)
        yield


def _wait(descriptor: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(descriptor) from None
        time.sleep(PAUSE)


def _busy(descriptor: int) -> Failure:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        who = f"{holder['by'] or 'another run'} holds this node's lock since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another run holds this node's lock"
    return Failure(who, reason="busy", hint="wait for it, or wait here with `--lock-timeout SECONDS`")


def _make_state() -> None:
    """Make the state folder and what is in it, durably; raises `Failure` if anybody but root could write there."""
    for path in (paths.STATE, paths.BLOBS, paths.TRANSACTIONS, paths.GENERATIONS):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            _require_roots(path)
        else:
            files.sync_directory(os.path.dirname(path))


def _require_roots(path: str) -> None:
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid or found.st_mode & 0o022:
        owner = f"uid {found.st_uid}, mode {found.st_mode & 0o7777:04o}"
        raise Failure(
            f"`{path}` is not a folder of root's alone ({owner})",
            hint=f"see who made it; then `chown root:root {path} && chmod 700 {path}`, or take it away",
        )
