"""The server's folder on the node (0700): `socket`, `alive`, `stat.json`.

`alive` is locked as long as the server lives, so that launchers know whether a greeting may still come.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

SOCKET = "/run/cni-provision/server/socket"
ALIVE, STAT = "alive", "stat.json"
BACKLOG = 1024

_FIRST_PASSED = 3  # sd_listen_fds(3)
_TRIES, _PAUSE = 100, 0.01


class Occupied(Exception):
    """Another server lives in this folder, or somebody else can write in it."""


class Place:
    """Where a server listens."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder = os.path.dirname(os.path.abspath(path))
        self._alive = -1

    def take(self) -> None:
        """Make the folder and be its only server; raises `Occupied` or OSError."""
        os.makedirs(os.path.dirname(self.folder), 0o755, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self.folder, 0o700)
        found = os.lstat(self.folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Occupied(f"{self.folder} must be a folder of root")
        os.chmod(self.folder, 0o700)
        self._alive = os.open(os.path.join(self.folder, ALIVE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._lock():
            raise Occupied(f"a server listens on {self.path} already")

    def _lock(self) -> bool:
        """Launchers that look whether a server lives hold it for moments."""
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(_PAUSE)
        return False

    def listen(self, environment: Mapping[str, str]) -> socket.socket:
        """The socket that systemd passed, or a new one."""
        if environment.get("LISTEN_PID") == str(os.getpid()) and environment.get("LISTEN_FDS") == "1":
            os.set_inheritable(_FIRST_PASSED, False)
            return socket.socket(fileno=_FIRST_PASSED)
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(self.path)
        os.chmod(self.path, 0o600)
        listener.listen(BACKLOG)
        return listener

    def tell(self, counters: Mapping[str, Any]) -> None:
        """Replace `stat.json`; a full file system is no reason to stop."""
        target = os.path.join(self.folder, STAT)
        with suppress(OSError):
            with open(f"{target}.new", "w", encoding="ascii") as file:
                json.dump({"pid": os.getpid(), **counters}, file)
            os.rename(f"{target}.new", target)

    def leave(self, *, unlink: bool) -> None:
        """Nobody may wait for us any more."""
        if unlink:
            with suppress(OSError):
                os.unlink(self.path)
        os.close(self._alive)
