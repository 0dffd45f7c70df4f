"""The node's side of the conversation, on descriptors that nothing else prints to."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import BinaryIO

from cni_provision.node import blobs, files
from cni_provision.node.failure import Failure
from cni_provision.node.protocol import LARGEST_FRAME, LENGTH, MARKER, Reply, frame, to_json

DIGEST_SIZE = 32


class Gone(Exception):
    """The controller went away; before the commit point that ends the run, with nothing changed."""


class Talk:
    """Frames in, frames out; the marker goes out before the first."""

    def __init__(self, source: BinaryIO, descriptor: int) -> None:
        self.source = source
        self.descriptor = descriptor
        self.greeting = MARKER

    def receive(self) -> bytes:
        """The body of the next frame; raises `Gone`."""
        (size,) = LENGTH.unpack(self._exactly(LENGTH.size))
        if size > LARGEST_FRAME:
            raise Failure(f"a frame of {size} bytes is too large")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        body = self.source.read(size)
        if len(body) < size:
            raise Gone
        return body

    def send(self, body: bytes) -> None:
        """Send one frame; raises `Gone` if nobody reads."""
        try:
            files.write_all(self.descriptor, self.greeting + frame(body))
        except OSError as error:
            raise Gone from error
        self.greeting = b""

    def answer(self, reply: Reply) -> None:
        """Send a reply."""
        self.send(to_json(reply))

    def receive_blobs(self, needed: Collection[str]) -> None:
        """Keep the blobs that come, until an empty frame; raises `Failure` unless all that are needed came."""
        lacking = set(needed)
        while body := self.receive():
            digest = body[:DIGEST_SIZE].hex()
            if digest in lacking:
                blobs.add(digest, blobs.unpacked(body[DIGEST_SIZE:]))
                lacking.discard(digest)
        if lacking:
            raise Failure(f"{len(lacking)} of {len(needed)} files did not come", hint="run the command again")


def private_output() -> int:
    """A descriptor of the real stdout; from now on whatever else prints goes to stderr."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return descriptor
