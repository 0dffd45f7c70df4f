"""The server's end of the wire, as a script says it; see the head of `launcher.c`."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

READY = b"cni-provision 1 ready test\n"
SECONDS = 20.0
CALL = {
    "PATH": os.defpath, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/nowhere", "CNI_IFNAME": "eth0",
    "CNI_PATH": "/nowhere",
}  # fmt: skip


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload


def answer(stdout: bytes, stderr: bytes = b"", code: int = 0) -> bytes:
    return frame(b"A", bytes([code]) + struct.pack("<I", len(stdout)) + stdout + stderr)


@dataclass
class Conversation:
    """What one accepted launcher said."""

    stream: socket.socket
    descriptors: list[int] = field(default_factory=list)

    def say(self, content: bytes) -> None:
        self.stream.sendall(content)

    def hear(self) -> tuple[bytes, bytes]:
        """A frame's type and payload; empty at the end."""
        head = self._exactly(5)
        if len(head) < 5:
            return b"", b""
        return head[:1], self._exactly(struct.unpack("<I", head[1:])[0])

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            room = socket.CMSG_LEN(struct.calcsize("i"))
            try:
                piece, ancillary, _, _ = self.stream.recvmsg(min(size - len(found), 1 << 20), room)
            except ConnectionError:
                break
            for _, _, content in ancillary:
                self.descriptors += array.array("i", content)
            if not piece:
                break
            found += piece
        return found


@dataclass
class Done:
    code: int
    stdout: bytes
    stderr: bytes
    heard: list[tuple[bytes, bytes]]


Script = Callable[[Conversation, list[tuple[bytes, bytes]]], None]


def call(
    executable: Path,
    path: Path,
    script: Script | None,
    stdin: bytes = b"{}",
    *,
    inherited: tuple[int, ...] = (),
    stdout: int = subprocess.PIPE,
    **variables: str,
) -> Done:
    """Run the launcher against a server that follows `script`; None: nobody listens at `path`.

    It has the `inherited` descriptors beside 0, 1 and 2; with another `stdout` what it wrote there is not kept.
    """
    heard: list[tuple[bytes, bytes]] = []
    listener = socket.socket(socket.AF_UNIX)
    thread = None
    if script:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=_serve, args=(listener, script, heard))
        thread.start()
    environment = {**CALL, "CNI_PROVISION_SOCKET": str(path), **variables}
    try:
        done = subprocess.run(
            [executable],
            input=stdin,
            env=environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
            pass_fds=inherited,
        )
    finally:
        if thread:
            thread.join(SECONDS)
        listener.close()
    return Done(done.returncode, done.stdout, done.stderr, heard)


def _serve(listener: socket.socket, script: Script, heard: list[tuple[bytes, bytes]]) -> None:
    try:
        stream, _ = listener.accept()
    except TimeoutError:
        return
    with stream:
        stream.settimeout(SECONDS)
        conversation = Conversation(stream)
        with contextlib.suppress(ConnectionError):
            script(conversation, heard)
        for descriptor in conversation.descriptors:
            os.close(descriptor)
