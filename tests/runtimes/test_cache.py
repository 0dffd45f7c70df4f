"""One result cache for us and for programs on libcni (Debian's, 1.1.2): what one attached, the other ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.conftest import ROOT
from tests.runtimes.node import NETWORK, Node, conflist, needs

LIBCNI = Path("/usr/share/gocode/src/github.com/containernetworking/cni/libcni")
CACHE = "/var/lib/cni"
pytestmark = [
    pytest.mark.root,
    needs("go"),
    pytest.mark.skipif(not LIBCNI.is_dir(), reason="golang-github-appc-cni-dev not installed"),
]
OURS = """
import sys
from cni_provision.cni import config
from cni_provision.cni.runtime import Attachment, Runtime
verb, file, netns, container, cache, plugins = sys.argv[1:]
runtime, network = Runtime([plugins], cache), config.load_file(file)
attachment = Attachment(container, netns)
if verb == "gc":
    runtime.gc(network, [])
else:
    {"add": runtime.add, "check": runtime.check, "del": runtime.delete}[verb](network, attachment)
"""


@pytest.fixture(scope="session")
def attach(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in Go beside this file."""
    folder = tmp_path_factory.mktemp("go")
    told = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    command = ["go", "build", "-o", str(folder / "attach"), str(Path(__file__).with_name("attach.go"))]
    subprocess.run(command, env={**os.environ, **told}, check=True, timeout=300)
    return folder / "attach"


@pytest.fixture
def container(node: Node) -> str:
    """The path of a namespace on the node; nothing of its attachment may be left when the test ends."""
    node.run("ip", "netns", "add", "c1")
    yield "/run/netns/c1"
    node.run("ip", "netns", "delete", "c1")
    assert node.left() == {}


def by_libcni(node: Node, attach: Path, verb: str, netns: str) -> None:
    node.run(str(attach), verb, written(node), netns, "c1", CACHE, "/opt/cni/bin")


def by_us(node: Node, verb: str, netns: str) -> None:
    program = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", OURS)
    node.run(*program, verb, written(node), netns, "c1", CACHE, "/opt/cni/bin")


def written(node: Node) -> str:
    path = node.folder / f"{NETWORK}.conflist"
    path.write_text(json.dumps(conflist("1.0.0")))
    return str(path)


def has_interface(node: Node) -> bool:
    return node.succeeds("ip", "netns", "exec", "c1", "ip", "link", "show", "eth0")


@pytest.mark.parametrize("end", ["del", "gc"])
def test_libcni_adds_and_we_end(node: Node, attach: Path, container: str, end: str) -> None:
    by_libcni(node, attach, "add", container)
    by_us(node, "check", container)
    assert has_interface(node)
    by_us(node, end, container)
    assert not has_interface(node)


def test_we_add_and_libcni_ends(node: Node, attach: Path, container: str) -> None:
    by_us(node, "add", container)
    by_libcni(node, attach, "check", container)
    assert has_interface(node)
    by_libcni(node, attach, "del", container)
    assert not has_interface(node)
