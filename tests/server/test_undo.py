"""What is undone when a caller dies: its own ADD, and nothing that came later, warm or cold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from cni_provision.server.peer import Files
from tests.server.cluster import SECONDS, SERVED, Cluster
from tests.server.conftest import eventually
from tests.server.raw import SILENT
from tests.warm import SOCKET

pytestmark = [pytest.mark.root, SERVED]


@pytest.fixture
def there(cluster: Callable[[int], Cluster]) -> Cluster:
    """A host whose server also takes this Python for the bridge plugin."""
    made = cluster(1)
    plugins = {**made.built.plugins, Files().digest(os.path.realpath(sys.executable)): "bridge"}
    made.server = made.nursery.serve(plugins, made.state / "log", within=made.host.pid, socket=SOCKET)
    return made


def added(there: Cluster) -> subprocess.Popen:
    """An ADD that was answered, whose caller does not say that it has passed the answer on."""
    environment = {
        "PYTHONHOME": sys.base_prefix, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c0", "CNI_IFNAME": "eth0",
        "CNI_NETNS": there.containers[0], "CNI_PATH": str(there.built.folder),
    }  # fmt: skip
    python = os.path.realpath(sys.executable)
    argv = there.host.enter(python, "-S", "-c", SILENT, SOCKET, "bridge", there.containers[0])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(there.bridge).encode() + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"0\n"
    return process


def gone(there: Cluster, process: subprocess.Popen) -> str:
    """The caller ends; what the server says of its undo."""
    assert there.server is not None
    log = there.server.log
    process.communicate(timeout=SECONDS)
    eventually(lambda: "verb=undo" in log.read_text())
    return next(line for line in log.read_text().splitlines() if "verb=undo" in line)


def test_the_add_of_a_caller_that_dies_is_undone(there: Cluster) -> None:
    with added(there) as process:
        assert there.ports() == there.leases() == {0}
        assert gone(there, process).endswith("code=0")
    assert there.ports() == there.leases() == set()


def test_a_cold_add_that_came_later_stays(there: Cluster) -> None:
    with added(there) as process:
        assert there.call("DEL", there.bridge, 0, cold=True).code == 0
        assert there.call("ADD", there.bridge, 0, cold=True).code == 0
        assert "a later ADD" in gone(there, process)
    assert there.ports() == there.leases() == {0}
    assert there.masqueraded() == 1


def test_after_a_cold_del_there_is_nothing_to_undo(there: Cluster) -> None:
    with added(there) as process:
        assert there.call("DEL", there.bridge, 0, cold=True).code == 0
        assert gone(there, process).endswith("code=0")
    assert there.ports() == there.leases() == set()
