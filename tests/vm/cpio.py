"""Archives that the kernel unpacks as its first root (Documentation/driver-api/early-userspace/buffer-format)."""

from __future__ import annotations

import stat
from typing import BinaryIO

FILE, FOLDER, SYMLINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
TRAILER = "TRAILER!!!"


class Writer:
    """Writes entries of root's, all of one time; every name is relative to the root."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._number = 0

    def entry(self, name: str, mode: int, content: bytes = b"") -> None:
        """One entry; a symbolic link's content is where it leads."""
        self._number += 1
        path = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(path), 0)
        self._out.write(padded(b"070701" + b"".join(b"%08X" % field for field in fields) + path))
        self._out.write(padded(content))

    def file(self, name: str, content: bytes, *, executable: bool = False) -> None:
        self.entry(name, FILE | (0o755 if executable else 0o644), content)

    def close(self) -> None:
        """End the archive; another may follow in the same file."""
        self.entry(TRAILER, 0)


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
