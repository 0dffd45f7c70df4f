"""Container runtimes on nodes of their own, with the executables of our plugins as they are installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from cni_provision.artifact import builtin_plugins
from cni_provision.artifact_build import build_plugin
from tests.plugins.conftest import REFERENCE, Namespace
from tests.runtimes.node import Node, joined, made_node

# How the plugins of a node run, and what has to run on the node for it: every test runs once for each.
WAYS: dict[str, Callable[[Node], AbstractContextManager[object]]] = {"cold": lambda node: nullcontext()}


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of our plugins as they are installed; what we do not have is there from the reference."""
    folder = tmp_path_factory.mktemp("opt-cni-bin")
    for reference in REFERENCE.glob("*"):
        shutil.copy2(reference, folder)
    for name, source in builtin_plugins().items():
        (folder / name).write_bytes(build_plugin(source))
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module", params=list(WAYS))
def node(request: pytest.FixtureRequest, executables: Path) -> Iterator[Node]:
    """A node that the tests of a module share."""
    with made_node(executables) as node, WAYS[request.param](node):
        yield node


@pytest.fixture(scope="module")
def client(node: Node) -> Iterator[Namespace]:
    with joined(node) as namespace:
        yield namespace
