"""What is said on a session, as a pure generator, and the driver that says it over a transport."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Iterator

from cni_provision.errors import Busy, Conflict, Denied, NodeError, NodeFailed, NotStarted, TimedOut, Unreachable
from cni_provision.fleet_job import Blobs
from cni_provision.node import bundle
from cni_provision.node.protocol import LARGEST_FRAME, LENGTH, MARKER, Reply, Request, frame, reply_from_json, to_json
from cni_provision.transport.base import Session, skip_past

END_OF_BLOBS = frame(b"")
BY_REASON: dict[str, type[NodeError]] = {
    kind.reason: kind for kind in (Conflict, Busy, Denied, TimedOut, Unreachable, NodeFailed)
}
Conversation = Generator[Iterable[bytes], bytes, Reply]


def conversation(program: bytes, request: Request, blobs: Blobs | None) -> Conversation:
    """Yields the blocks to send, takes the frame that answers them, and returns the last reply.

    Raises `NodeError` where the node reports one, and `NodeFailed` for an answer that is none.
    """
    reply = read_reply((yield opening(program, request)))
    if reply.need:
        reply = read_reply((yield blob_frames(reply.need, blobs)))
    return reply


def opening(program: bytes, request: Request) -> tuple[bytes, ...]:
    """The first blocks of a session."""
    return MARKER, frame(program), frame(to_json(request))


def blob_frames(digests: Iterable[str], blobs: Blobs | None) -> Iterator[bytes]:
    """A frame for each digest, made when it is its turn, and the end; raises `NodeFailed` for an unknown one."""
    for digest in digests:
        try:
            data = blobs.compressed(digest) if blobs else None
        except KeyError:
            data = None
        if data is None:
            raise NodeFailed(f"the node asks for `{digest[:12]}`, which is not part of this run")
        yield frame(bytes.fromhex(digest) + data)
    yield END_OF_BLOBS


def read_reply(body: bytes) -> Reply:
    """The reply in a frame; raises what its `error` stands for."""
    try:
        reply = reply_from_json(body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NodeFailed(
            f"the node's answer cannot be read: {error}", hint="is it a node of another version?"
        ) from error
    if reply.error:
        kind = BY_REASON.get(str(reply.error.get("reason")), NodeFailed)
        failure = kind(str(reply.error.get("message")), hint=reply.error.get("hint"))
        failure.detail = reply.error.get("detail")
        raise failure
    return reply


async def converse(
    session: Session,
    request: Request,
    blobs: Blobs | None = None,
    *,
    program: bytes | None = None,
    stop: asyncio.Event | None = None,
) -> Reply:
    """The node's reply to `request`.

    `program` is the node program (default: ours). Once `stop` is set no blobs are sent any more, so that
    the node gives up before its commit: `NotStarted`. Raises `NodeError`.
    """
    stop = stop or asyncio.Event()
    flow = conversation(bundle.program() if program is None else program, request, blobs)
    try:
        blocks = next(flow)
        answer = await exchange(session, blocks, stop=stop, first=True)
        while True:
            blocks = flow.send(answer)
            answer = await exchange(session, blocks, stop=stop, first=False)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    except EOFError:
        raise await session.diagnosis() from None


async def exchange(session: Session, blocks: Iterable[bytes], *, stop: asyncio.Event, first: bool) -> bytes:
    """Send `blocks` while waiting for the frame that answers them.

    The node may answer before it has read everything, because it failed: then that is what counts, not
    the broken pipe.
    """
    sending = asyncio.create_task(_send(session, blocks, stop))
    reading = asyncio.create_task(_read_frame(session, first=first))
    try:
        await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and not reading.done():
            sending.result()
        return await reading
    finally:
        for task in (sending, reading):
            task.cancel()
        await asyncio.gather(sending, reading, return_exceptions=True)


async def _send(session: Session, blocks: Iterable[bytes], stop: asyncio.Event) -> None:
    for block in blocks:
        if stop.is_set():
            raise NotStarted("stopped before the node had all files; nothing was changed")
        await session.write(block)


async def _read_frame(session: Session, *, first: bool) -> bytes:
    if first:
        await skip_past(session.read, MARKER)
    (length,) = LENGTH.unpack(await session.read(LENGTH.size))
    if length > LARGEST_FRAME:
        raise NodeFailed(f"the node announces an answer of {length} bytes")
    return await session.read(length)
