"""The server as a process, from the command line to SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cni_provision import artifact
from cni_provision.artifact_launcher import own_architecture
from tests.built import CAN_BE_SERVED
from tests.cli.conftest import PROGRAM, Run

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not CAN_BE_SERVED, reason="no launcher can be built here: ziglang is not installed"),
]
SECONDS = 60
Start = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts servers and waits until they listen; they end with the test."""
    with ExitStack() as stack:

        def run(path: Path) -> subprocess.Popen[str]:
            argv = [PROGRAM, "server", "--socket", str(path)]
            process = stack.enter_context(subprocess.Popen(argv, stderr=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stderr is not None
            line = process.stderr.readline()
            assert f"listens on {path}" in line, line
            return process

        yield run


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The executable of this machine's architecture."""
    blobs, folder = artifact.Blobs(), tmp_path_factory.mktemp("bin")
    source = artifact.PluginSource("ours", "builtin", plugins=("bridge",))
    found = artifact.collect(source, blobs, artifact.default_cache())
    digest = next(one.digest for one in found if one.architecture == own_architecture())
    (folder / "bridge").write_bytes(blobs.get(digest))
    (folder / "bridge").chmod(0o755)
    return folder / "bridge"


def version(plugin: Path, path: Path) -> dict:
    environment = {"PATH": os.defpath, "CNI_COMMAND": "VERSION", "CNI_PROVISION_SOCKET": str(path)}
    done = subprocess.run([plugin], input=b"{}", capture_output=True, env=environment, timeout=SECONDS, check=True)
    return dict(json.loads(done.stdout))


def test_built_plugins_are_served_until_sigterm(start: Start, bridge: Path, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    server = start(path)
    assert version(bridge, path)["cniVersion"] == "1.1.0"
    assert server.stderr is not None
    assert server.stderr.readline().startswith("plugin=bridge verb=VERSION ms=")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    server.send_signal(signal.SIGTERM)
    assert server.wait(SECONDS) == 0
    assert not path.exists()
    assert json.loads((path.parent / "stat.json").read_text())["requests"]["VERSION"]["count"] == 1
    assert version(bridge, path)["cniVersion"] == "1.1.0"


def test_two_servers_have_two_sockets(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    start(path)
    second = subprocess.run(
        [PROGRAM, "server", "--socket", str(path)], capture_output=True, text=True, timeout=SECONDS
    )
    assert (second.returncode, second.stderr) == (1, f"server: a server listens on {path} already\n")


def test_a_server_comes_back_after_it_was_killed(start: Start, bridge: Path, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    start(path).kill()
    time.sleep(0.01)
    assert version(bridge, path)["cniVersion"] == "1.1.0"
    server = start(path)
    version(bridge, path)
    assert server.stderr is not None
    assert "verb=VERSION" in server.stderr.readline()


def test_help_has_examples(program: Run) -> None:
    done = program("server", "--help")
    assert done.returncode == 0
    assert "CNI_PROVISION_SOCKET=/run/try/socket" in done.stdout
