"""What processes were executed with and what they wrote to files, by `strace`: every one of them, nothing sampled."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CALLS = "execve,execveat,write,pwrite64,writev"
STRACE = ("strace", "-f", "-y", "-v", "-s", "65536", "-e", f"trace={CALLS}", "-e", "signal=none")
FILE = re.compile(r"\w+\(\d+<(/[^>]*)>")
NO_FILES = re.compile(r"(?:pipe|socket|anon_inode|UNIX|TCP|NETLINK)\b|/dev/(?:null|pts|tty|ptmx)|/memfd:")


def traced(argv: Sequence[str], log: Path) -> list[str]:
    """The command line that runs `argv` and logs it; only the system calls that are logged cost time."""
    return [*STRACE, "--seccomp-bpf", "-o", str(log), *argv]


@contextmanager
def attached(pids: Sequence[int], log: Path) -> Iterator[None]:
    """Log processes that run already, with all that they start."""
    words = [word for pid in pids for word in ("-p", str(pid))]
    with subprocess.Popen([*STRACE, "-o", str(log), *words], stderr=subprocess.PIPE) as strace:
        assert strace.stderr
        for _ in pids:
            assert b"attached" in strace.stderr.readline()
        try:
            yield
        finally:
            strace.terminate()
            strace.stderr.read()


@dataclass(frozen=True)
class Canary:
    """A secret, and all the faces that it may have elsewhere."""

    name: str
    value: str

    @property
    def faces(self) -> dict[str, bytes]:
        """Plain, as hexadecimal digits, and as base64 wherever it begins in a group of three bytes."""
        raw = self.value.encode()
        return {
            "plain": raw,
            "hex": raw.hex().encode(),
            **{f"base64 {shift}": middle(base64.b64encode(b"\0" * shift + raw), shift) for shift in range(3)},
        }

    def seen_in(self, content: bytes) -> list[str]:
        """Which faces stand in some bytes."""
        lower = content.lower()
        return [face for face, text in self.faces.items() if text in (lower if face == "hex" else content)]


def middle(encoded: bytes, shift: int) -> bytes:
    """The part of base64 that does not depend on what stands before and after."""
    first = -(-shift * 8 // 6)
    return encoded.rstrip(b"=")[first:-1]


def executions(log: Path) -> Iterator[bytes]:
    """Every execution with its arguments and environment."""
    for line in log.read_bytes().splitlines():
        if b" exec" in line:
            yield line


def writes(log: Path) -> Iterator[tuple[str, bytes]]:
    """Every write to a file (not to a pipe, a socket, a terminal or memory): its path, and the line of the log."""
    for line in log.read_bytes().splitlines():
        found = FILE.search(line.partition(b'"')[0].decode(errors="replace"))
        if found and not NO_FILES.search(found[1]):
            yield found[1], line
