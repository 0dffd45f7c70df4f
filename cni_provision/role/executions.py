"""The conversation with a node where a command gets all its input before it answers: two executions at most.

What the first one answers with `need` is sent with the same request in the second, which is complete by itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import dataclass

from cni_provision.fleet_conversation import blob_frames, opening, read_reply
from cni_provision.fleet_job import Job
from cni_provision.inventory.connection import DISCOVERED
from cni_provision.node import boot, bundle
from cni_provision.node.protocol import LENGTH, MARKER, Reply
from cni_provision.transport import diagnosis


@dataclass(frozen=True)
class Ended:
    """How a command on the node ended."""

    code: int
    output: bytes
    complaint: str


def command(python: str | None) -> str:
    """The shell command that runs the node program from stdin; `python` as `ansible_python_interpreter` names it."""
    return shlex.join(boot.argv(None if python in DISCOVERED else python))


def executions(job: Job) -> Generator[bytes, Ended, Reply]:
    """Yields the stdin of each execution, takes how it ended; returns the reply. Raises `NodeError`."""
    first = b"".join(opening(bundle.program(), job.request))
    reply = _reply(job, (yield first))
    if reply.need:
        reply = _reply(job, (yield first + b"".join(blob_frames(reply.need, job.blobs))))
    return reply


def _reply(job: Job, ended: Ended) -> Reply:
    """What the last whole frame says, after whatever a login printed before the first."""
    _, marker, frames = ended.output.partition(MARKER)
    last = None
    while len(frames) >= LENGTH.size:
        (size,) = LENGTH.unpack_from(frames)
        body, frames = frames[LENGTH.size : LENGTH.size + size], frames[LENGTH.size + size :]
        last = body if len(body) == size else None
    if not marker or last is None:
        raise diagnosis.of_program(job.node.name, ended.complaint, ended.code)
    return read_reply(last)
