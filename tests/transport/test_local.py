"""The node is this machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from cni_provision.errors import NodeError, NodeFailed
from cni_provision.fleet import converse
from cni_provision.inventory.model import Connection
from cni_provision.node.protocol import Reply, Request
from cni_provision.transport.base import Secrets, Settings
from cni_provision.transport.local import Transport
from tests import echo_program

PROGRAM = ("/usr/bin/python3", "-I", "-S", "-c", Path(echo_program.__file__).read_text())


def ask(argv: tuple[str, ...], **work: object) -> Reply:
    async def talk() -> Reply:
        session = await Transport(Settings()).open("here", Connection("local"), argv, Secrets())
        try:
            return await converse(session, Request("plan", work=work), program=b"")
        finally:
            await session.close()

    return asyncio.run(talk())


def test_runs_here() -> None:
    assert ask(PROGRAM).facts["uid"] == os.getuid()


def test_a_program_that_dies() -> None:
    with pytest.raises(NodeFailed, match="out of luck"):
        ask(PROGRAM, die="out of luck")


def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(NodeError, match="cannot start `/no/such/python`"):
        ask(("/no/such/python",))
