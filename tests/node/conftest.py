"""A node on this machine: private mount and network namespaces in which the real node program runs."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cni_provision.node import boot, bundle
from cni_provision.node.protocol import LENGTH, MARKER, Reply, Request, frame, reply_from_json, to_json
from cni_provision.plan import File, State, key_of

PREPARE = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=8m none /var/lib
mount -t tmpfs none /run
for top in etc opt; do  # so that the mount points are not made on this machine
  mkdir -p /run/$top/upper /run/$top/work
  mount -t overlay -o lowerdir=/$top,upperdir=/run/$top/upper,workdir=/run/$top/work none /$top
done
mkdir -p /etc/cni /opt/cni /etc/sysctl.d
mount -t tmpfs -o size=8m,mode=755 none /etc/cni
mount -t tmpfs -o size=8m,mode=755 none /opt/cni
mount -t tmpfs -o size=1m,mode=755 none /etc/sysctl.d
mount -t tmpfs none /run
echo ready
exec sleep 600
"""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Bytes:
    """States and the bytes behind them, to build requests from."""

    states: Mapping[str, State] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)

    def file(self, path: str, content: bytes, *, mode: int = 0o644, kind: str = "file") -> Bytes:
        state = File(path, digest(content), mode, kind=kind)
        return Bytes({**self.states, key_of(state): state}, {**self.contents, state.digest: content})

    def plugin(self, name: str, content: bytes) -> Bytes:
        return self.file(f"/opt/cni/bin/{name}", content, mode=0o755, kind="plugin")

    def conflist(self, name: str, content: bytes) -> Bytes:
        return self.file(f"/etc/cni/net.d/{name}", content, kind="conflist")

    def live(self, state: State) -> Bytes:
        return replace(self, states={**self.states, key_of(state): state})


@dataclass(frozen=True)
class Ended:
    """How a run of the node program ended; `replies` are those that came."""

    replies: tuple[Reply, ...]
    status: int
    stderr: str

    @property
    def reply(self) -> Reply:
        return self.replies[-1]


@dataclass(frozen=True)
class Node:
    """A namespace holder; its files are seen from outside through `/proc`."""

    pid: int

    def path(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root{path}")

    def enter(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "--", *argv]

    def shell(self, script: str) -> str:
        return subprocess.run(self.enter(["sh", "-c", script]), check=True, capture_output=True, text=True).stdout

    def python(self, script: str, *words: str) -> str:
        argv = self.enter([sys.executable, "-ISc", script, *words])
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)

    def tree(self) -> dict[str, tuple[object, ...]]:
        """Everything where plugins, conflists and drop-ins live: path → mode, owners, bytes, attributes."""
        root = f"/proc/{self.pid}/root"
        paths = (path for top in ("/etc/cni", "/opt/cni", "/etc/sysctl.d") for path in self.path(top).rglob("*"))
        return {str(path).removeprefix(root): _described(path) for path in paths}

    def start(self, python: str | None = sys.executable, trace: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the node program as a transport would."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.enter([*trace, *boot.argv(python)]), **pipes)

    def ask(
        self,
        request: Request,
        blobs: Mapping[str, bytes] | None = None,
        *,
        python: str | None = sys.executable,
        noise: bytes = b"",
        trace: Sequence[str] = (),
    ) -> Ended:
        """Ask and answer until the node has said everything; all blobs are offered at once, as Ansible would."""
        blocks = [noise, MARKER, frame(bundle.program()), frame(to_json(request))]
        blocks += [frame(bytes.fromhex(name) + zlib.compress(body)) for name, body in (blobs or {}).items()]
        with self.start(python, trace) as process:
            out, err = process.communicate(b"".join(blocks) + frame(b""), timeout=60)
        return Ended(tuple(replies(out)), process.returncode, err.decode())


def _described(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    content = path.read_bytes() if path.is_file() else b"/" + bytes(path.is_symlink())
    names = sorted(os.listxattr(path, follow_symlinks=False))
    attributes = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]
    return found.st_mode, found.st_uid, found.st_gid, content, attributes


def replies(out: bytes) -> Iterator[Reply]:
    """The reply frames behind the marker; a torn last one is left out."""
    _, marker, rest = out.partition(MARKER)
    while marker and len(rest) >= LENGTH.size:
        size = struct.unpack(">I", rest[: LENGTH.size])[0]
        if len(rest) < LENGTH.size + size:
            return
        yield reply_from_json(rest[LENGTH.size : LENGTH.size + size])
        rest = rest[LENGTH.size + size :]


@pytest.fixture
def node() -> Iterator[Node]:
    holder = subprocess.Popen(
        ["unshare", "--mount", "--net", "sh", "-c", PREPARE], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        yield Node(holder.pid)
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout:
            holder.stdout.close()


def request(what: Bytes, verb: str = "apply", **more: object) -> Request:
    return Request(verb, by="tester@here", desired=dict(what.states), time="2026-01-01", **more)  # type: ignore[arg-type]
