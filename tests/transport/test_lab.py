"""A lab node without SSH."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cni_provision.errors import Unreachable
from cni_provision.fleet import converse
from cni_provision.inventory.model import Connection
from cni_provision.lab import Lab
from cni_provision.node.protocol import Reply, Request
from cni_provision.transport.base import Secrets, Settings
from cni_provision.transport.lab import Transport
from tests import echo_program

PROGRAM = ("/usr/bin/python3", "-I", "-S", "-c", Path(echo_program.__file__).read_text())


def ask(host: str) -> Reply:
    async def talk() -> Reply:
        session = await Transport(Settings()).open("one", Connection("lab", host=host), PROGRAM, Secrets())
        try:
            return await converse(session, Request("plan"), program=b"")
        finally:
            await session.close()

    return asyncio.run(talk())


@pytest.mark.lab
def test_runs_as_root_in_the_node(shared_lab: Lab) -> None:
    facts = ask(f"{shared_lab.name}/node-3").facts
    assert (facts["uid"], facts["host"]) == (0, "node-3")


@pytest.mark.lab
def test_an_unknown_node(shared_lab: Lab) -> None:
    with pytest.raises(Unreachable, match="has no node `node-9`"):
        ask(f"{shared_lab.name}/node-9")


def test_an_unknown_lab() -> None:
    with pytest.raises(Unreachable, match="there is no lab `nowhere`"):
        ask("nowhere/node-1")
