"""Container runtimes on nodes of their own, with the executables of our plugins as they are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from cni_provision.node import paths
from tests.built import CAN_BE_SERVED, PYTHON, Built, build, compile_for
from tests.plugins.conftest import REFERENCE, ROOT, Namespace
from tests.runtimes.node import Node, joined, made_node

PATIENCE = 60.0
SERVER = "/run/cni-provision/server"
SERVE = """
import sys
root, digests = sys.argv[1:]
sys.path[:0], sys.argv[1:] = [root], []
from cni_provision.server.main import main
main(digests)
"""


@contextmanager
def cold(node: Node, built: Built) -> Iterator[None]:
    """No server, and what `apply` compiles for that."""
    folder = node.file(paths.BYTECODE)
    folder.parent.mkdir(parents=True)
    compile_for(PYTHON, built, folder)
    yield


@contextmanager
def served(node: Node, built: Built) -> Iterator[None]:
    """A server in the node's namespaces; when its tests are over it has served all that their runtime asked for."""
    digests = json.dumps({name: digest for digest, name in built.plugins.items()})
    argv = node.enter(sys.executable, "-ISc", SERVE, str(ROOT), digests)
    with (node.folder / "server.log").open("w") as log, subprocess.Popen(argv, stderr=log, env={}) as process:
        try:
            awaited(node.file(f"{SERVER}/socket").exists)
            yield
            awaited(lambda: {"ADD", "DEL"} <= counters(node)["requests"].keys())
            assert not counters(node)["cold"]
        finally:
            process.terminate()  # which enters the namespaces; the server goes with the node


def counters(node: Node) -> dict:
    file = node.file(f"{SERVER}/stat.json")
    return json.loads(file.read_text()) if file.exists() else {"requests": {}}


def awaited(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# How the plugins of a node run, and what has to run on the node for it: every test runs once for each, without a
# server by `nox -s minutes`.
WAYS: dict[str, Callable[[Node, Built], AbstractContextManager[None]]] = {
    "cold": cold,
    **({"warm": served} if CAN_BE_SERVED else {}),
}


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A folder of our plugins as they are installed; what we do not have is there from the reference."""
    folder = tmp_path_factory.mktemp("opt-cni-bin")
    for reference in REFERENCE.glob("*"):
        shutil.copy2(reference, folder)
    return build(folder)


RARER = ("cold",) if CAN_BE_SERVED else ()


@pytest.fixture(
    scope="module", params=[pytest.param(way, marks=pytest.mark.minutes if way in RARER else ()) for way in WAYS]
)
def node(request: pytest.FixtureRequest, executables: Built) -> Iterator[Node]:
    """A node that the tests of a module share."""
    with made_node(executables.folder) as node, WAYS[request.param](node, executables):
        yield node


@pytest.fixture(scope="module")
def client(node: Node) -> Iterator[Namespace]:
    with joined(node) as namespace:
        yield namespace
