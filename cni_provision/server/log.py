"""One line for each request on stderr; for journald with its level in front (sd-daemon(3))."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

ERROR, WARNING, INFORMATION = 3, 4, 6


class Log:
    """Never waits: a line that a slow reader has no room for is dropped. For any thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._marked = environment.get("JOURNAL_STREAM") == _identity(2)
        self._socket = _stderr_socket()

    def line(self, level: int, text: str) -> None:
        mark = f"<{level}>" if self._marked else ""
        data = f"{mark}{text}\n".encode("utf-8", "backslashreplace")
        try:
            if self._socket is None:
                os.write(2, data)
            else:
                self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return


def words(**pairs: object) -> str:
    """`name=value …`, without those that are empty; a value that would not be one word is quoted."""
    return " ".join(f"{name}={_word(str(value))}" for name, value in pairs.items() if value != "")


def _word(text: str) -> str:
    plain = text.isprintable() and not set(text) & set(" =\"'")
    return text if plain else repr(text)


def _identity(descriptor: int) -> str:
    """As JOURNAL_STREAM names it, systemd.exec(5)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _stderr_socket() -> socket.socket | None:
    """journald's end is a stream socket."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, AttributeError, ValueError):
        return None
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
