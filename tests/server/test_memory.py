"""A server that has served thousands has no more memory than one that has served some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from cni_provision.server.peer import Files
from tests.server.cluster import SERVED, Cluster
from tests.server.raw import MANY
from tests.warm import SOCKET

pytestmark = [pytest.mark.root, pytest.mark.slow, SERVED]

FIRST, MORE = 500, 3000  # ADDs and as many DELs; `bench plugins --only endurance` has 100,000
MOST = 2048  # KiB that may come on top: 350 bytes a request


def test_memory_does_not_grow(cluster: Callable[[int], Cluster]) -> None:
    there = cluster(1)
    python = os.path.realpath(sys.executable)
    plugins = {Files().digest(python): "host-local"}
    there.server = there.nursery.serve(plugins, there.state / "log", within=there.host.pid, socket=SOCKET)
    ipam = {"type": "host-local", "dataDir": str(there.state / "leases"), "ranges": [[{"subnet": "10.9.0.0/24"}]]}
    config = json.dumps({"cniVersion": "1.0.0", "name": "many", "type": "bridge", "ipam": ipam})

    def serve(times: int) -> int:
        argv = there.host.enter(python, "-S", "-c", MANY, SOCKET, "host-local", config, str(times))
        subprocess.run(argv, env={"PYTHONHOME": sys.base_prefix}, check=True, timeout=300)
        assert there.server is not None
        return there.server.memory()

    before = serve(FIRST)
    assert serve(MORE) - before < MOST
