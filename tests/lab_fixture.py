"""A pytest plugin: lab nodes for the whole session, shared by all tests that ask for them.

A folder of tests gets it by `pytest_configure` in its `conftest.py` (see tests/lab/conftest.py). The nodes are
shared: a test cleans up what it leaves on them, or takes a lab of its own from `own_lab`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from cni_provision import lab
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.lab.enter import ENVIRONMENT

NODES = 3


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[lab.Lab]:
    """A lab of three nodes: node-1, node-2, node-3."""
    name = f"test-{os.getpid()}"
    there = lab.up(NODES, name)
    yield there
    lab.down(name)


@pytest.fixture
def own_lab() -> Iterator[Callable[..., lab.Lab]]:
    """Labs for one test: `own_lab(2, lab.Shape(opt_size="1m"))`."""
    with ExitStack() as stack:

        def up(count: int, shape: lab.Shape | None = None) -> lab.Lab:
            name = f"test-{os.getpid()}-{len(lab.names())}"
            there = lab.up(count, name, shape)
            stack.callback(lambda: there.alive and lab.down(name))
            return there

        yield up


def on(there: lab.Lab, node: str, *argv: str) -> str:
    """The stdout of a command that must succeed in `node`."""
    command: Sequence[str] = lab.command(there, node, argv)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_ssh(there: lab.Lab, address: str, user: str = "root", **more: object) -> Connection:
    """The connection of a lab's address, as its inventory has it."""
    ssh_args = ("-F", str(there.folder / "ssh_config"))
    defaults = {"host": address, "user": user, "ssh_args": ssh_args, "become": user != "root"}
    return Connection(**{**defaults, **more})


def node(name: str, connection: Connection) -> Node:
    return Node(name, (), connection, Declarations())
