"""A host in namespaces of its own, with pods: nobody on this machine meets what the plugins do there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# /run has the plugins' locks and the pods' namespaces, /var/lib the leases; both are a disk's or a node's own
HOLD = """
mount -t tmpfs tmpfs /run && mkdir /run/netns && mount --bind "$1" /var/lib && ip link set lo up || exit
echo ready
exec cat
"""
SECONDS = 60.0


@dataclass(frozen=True)
class Host:
    """Network and mount namespaces, held by a process; `state` is its /var/lib, seen from outside."""

    pid: int
    state: Path

    def inside(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--", *argv]

    def run(self, *argv: str, stdin: str = "") -> str:
        """What a command that must succeed printed."""
        done = subprocess.run(
            self.inside(*argv), input=stdin, text=True, capture_output=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def make_namespaces(self, names: Sequence[str]) -> None:
        self.run("ip", "-batch", "-", stdin="".join(f"netns add {name}\n" for name in names))


@contextmanager
def host(folder: Path) -> Iterator[Host]:
    """A host whose /var/lib is `folder`/var-lib; all of it is gone at the end."""
    state = folder / "var-lib"
    state.mkdir(parents=True, exist_ok=True)
    argv = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD, "hold", str(state)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != b"ready\n":
                raise RuntimeError("cannot make namespaces; the benchmark needs root")
            yield Host(holder.pid, state)
        finally:
            holder.kill()
