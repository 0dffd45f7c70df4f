"""A fleet over real SSH with our own node program: good nodes among a dead one, a black hole and a failing one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_provision import events, fleet
from cni_provision.errors import NodeFailed, Unreachable
from cni_provision.fleet import Job, Options, Outcome
from cni_provision.lab import Lab
from cni_provision.lab.state import BLACK_HOLE, DEAD
from cni_provision.node.protocol import Request
from cni_provision.plan import File
from tests.lab_fixture import by_ssh, node, on

pytestmark = pytest.mark.lab
DATA = [os.urandom(400_000) for _ in range(4)]
BLOBS = {hashlib.sha256(data).hexdigest(): zlib.compress(data) for data in DATA}
DESIRED = {
    f"file:/opt/cni/bin/{i}": File(f"/opt/cni/bin/{i}", digest, 0o755, kind="plugin")
    for i, digest in enumerate(BLOBS)
}
GOOD = [f"10.200.1.{i}" for i in (1, 2, 3)]


class Blobs:
    def compressed(self, digest: str) -> bytes:
        return BLOBS[digest]


def jobs(there: Lab, *addresses: str) -> list[Job]:
    request = Request("apply", desired=DESIRED)
    return [Job(node(address, by_ssh(there, address)), request, Blobs()) for address in addresses]


def run(there: Lab, *addresses: str, **options: object) -> tuple[dict[str, Outcome], list[events.Event]]:
    seen: list[events.Event] = []
    outcomes = asyncio.run(fleet.run(jobs(there, *addresses), Options(**options), seen.append))
    return {outcome.node.name: outcome for outcome in outcomes}, seen


def files(there: Lab, name: str) -> list[str]:
    return on(there, name, "sh", "-c", "ls -A /opt/cni/bin 2>/dev/null || :").split()


@pytest.fixture
def clean_lab(shared_lab: Lab) -> Iterator[Lab]:
    """Nodes without a trace of ours, also afterwards."""
    yield shared_lab
    for there in shared_lab.nodes:
        on(shared_lab, there.name, "sh", "-c", "umount /opt/cni 2>&-; rm -rf /opt/cni/* /var/lib/cni-provision")


def test_trouble_stays_where_it_is(clean_lab: Lab) -> None:
    on(clean_lab, "node-3", "mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", "/opt/cni")
    began = time.monotonic()
    outcomes, seen = run(clean_lab, DEAD, BLACK_HOLE, *GOOD, connect_timeout=4)
    assert time.monotonic() - began < 8
    assert isinstance(outcomes[DEAD].error, Unreachable)
    assert "No route to host" in outcomes[DEAD].error.message
    assert isinstance(outcomes[BLACK_HOLE].error, Unreachable)
    assert "timed out" in outcomes[BLACK_HOLE].error.message
    assert isinstance(outcomes["10.200.1.3"].error, NodeFailed)
    assert "No space left" in outcomes["10.200.1.3"].error.message
    # the node's own words, and none of its files
    assert files(clean_lab, "node-3") == []
    for name in ("node-1", "node-2"):
        assert files(clean_lab, name) == ["0", "1", "2", "3"]
    done = [event for event in seen if isinstance(event, events.ApplyDone)]
    assert max(event.seconds for event in done) < 3.5


def test_the_second_run_changes_nothing(clean_lab: Lab) -> None:
    first, _ = run(clean_lab, *GOOD)
    second, _ = run(clean_lab, *GOOD)
    for address in GOOD:
        assert first[address].reply
        assert second[address].reply
        assert first[address].reply.changes
        assert not second[address].reply.changes


INTERRUPTED = """
import asyncio, sys
from cni_provision import errors, fleet, lab
from tests.lab.test_fleet_over_ssh import GOOD, jobs
def tell(event):
    print(event.name, event.node, flush=True)
try:
    asyncio.run(fleet.run(jobs(lab.find(sys.argv[1]), *GOOD), fleet.Options(forks=int(sys.argv[2])), tell))
except errors.Interrupted as error:
    for outcome in error.outcomes:
        print(outcome.node.name, "done" if outcome.reply else outcome.error.reason)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.25, 0.4])
def test_ctrl_c_leaves_every_node_whole(clean_lab: Lab, moment: float) -> None:
    root = Path(__file__).parent.parent.parent
    argv = [sys.executable, "-c", INTERRUPTED, clean_lab.name, "2"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("apply_start")
        time.sleep(moment)
        process.send_signal(2)
        said = process.stdout.read().splitlines()
    assert process.returncode == 130
    told = dict(line.split(" ", 1) for line in said if line.startswith("10."))
    assert set(told) == set(GOOD)
    for there in clean_lab.nodes:
        found = files(clean_lab, there.name)
        assert found == (["0", "1", "2", "3"] if told[there.address] == "done" else [])
