"""Sessions over plain local processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import pytest

from cni_provision.errors import NodeFailed
from cni_provision.transport import diagnosis, process
from cni_provision.transport.process import ProcessSession

Result = TypeVar("Result")


def with_session(script: str, use: Callable[[ProcessSession], Awaitable[Result]]) -> Result:
    async def talk() -> Result:
        judge = partial(diagnosis.of_program, "one")
        session = await process.start(("sh", "-c", script), judge, AsyncExitStack())
        try:
            return await use(session)
        finally:
            await session.close()

    return asyncio.run(talk())


def test_reads_exactly() -> None:
    async def use(session: ProcessSession) -> bytes:
        await session.write(b"123456789")
        return await session.read(4) + b"|" + await session.read(5)

    assert with_session("cat", use) == b"1234|56789"


def test_the_end_before_is_an_eof() -> None:
    with pytest.raises(EOFError):
        with_session("printf 123", lambda session: session.read(4))


def test_writing_to_an_ended_program_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def use(session: ProcessSession) -> NodeFailed:
        for _ in range(20):
            await session.write(bytes(1_000_000))
        error = await session.diagnosis()
        assert isinstance(error, NodeFailed)
        return error

    assert with_session("echo 'no luck' >&2; exit 3", use).message == "no luck"
    gc.collect()  # asyncio logs a failure that nobody asked for when it is dropped
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'This account is currently not available.'; exit 1", "This account is currently not available"),
        ("echo Welcome; echo 'no luck' >&2; exit 1", "no luck"),
        ("printf 'Welcome\\0CNIP\\0answer'; exit 1", "the node's program ended with exit code 1 and said nothing"),
    ],
)
def test_noise_explains_an_end_without_a_word(script: str, message: str) -> None:
    async def use(session: ProcessSession) -> NodeFailed:
        with contextlib.suppress(EOFError):
            await session.read(100)
        error = await session.diagnosis()
        assert isinstance(error, NodeFailed)
        return error

    assert with_session(script, use).message == message


def test_closing_twice_is_safe() -> None:
    assert with_session("cat", lambda session: session.close()) is None


def test_noise_is_skipped() -> None:
    async def use(session: ProcessSession) -> bytes:
        await session.skip_past(b"MARK")
        return await session.read(3)

    assert with_session("printf 'MAMARMARKyes'", use) == b"yes"


def test_a_program_that_does_not_end_is_killed_when_abandoned() -> None:
    began = time.monotonic()
    assert with_session("trap '' HUP TERM; sleep 60 & wait", lambda session: session.abandon()) is None
    assert time.monotonic() - began < 5


def test_pipes_are_closed_while_a_descendant_holds_them() -> None:
    """As a kept master connection of `ssh` does; an unclosed transport would be a warning, and so an error here."""
    began = time.monotonic()
    assert with_session("sleep 3 & echo started", lambda session: session.read(8)) == b"started\n"
    gc.collect()
    assert time.monotonic() - began < 2


def test_resources_end_with_the_session() -> None:
    ended: list[str] = []

    async def talk() -> None:
        resources = AsyncExitStack()
        resources.callback(ended.append, "resource")
        session = await process.start(("true",), partial(diagnosis.of_program, "one"), resources)
        await session.close()

    asyncio.run(talk())
    assert ended == ["resource"]


def test_resources_end_when_nothing_starts() -> None:
    ended: list[str] = []

    async def talk() -> None:
        resources = AsyncExitStack()
        resources.callback(ended.append, "resource")
        await process.start(("/no/such/program",), partial(diagnosis.of_program, "one"), resources)

    with pytest.raises(FileNotFoundError):
        asyncio.run(talk())
    assert ended == ["resource"]
