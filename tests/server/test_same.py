"""Warm and cold answers are the same bytes, code and stderr, wherever a call says the same twice."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.server.cluster import SERVED, Cluster
from tests.server.conftest import eventually
from tests.warm import SOCKET

pytestmark = [pytest.mark.root, SERVED]

HOST_LOCAL = {"cniVersion": "1.0.0", "name": "same", "type": "host-local"}
IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
BRIDGE = {"cniVersion": "1.0.0", "name": "same", "type": "bridge", "ipam": IPAM}
LOOPBACK = {"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}
GONE = {"CNI_NETNS": "/nowhere"}
NO_NAMESPACE = {"CNI_NETNS": "/etc/hostname"}
OWN = {"CNI_NETNS": "/proc/self/ns/net"}

CASES: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "version": ("bridge", "VERSION", {}, {}),
    "version of a caller": ("host-local", "VERSION", {"cniVersion": "0.4.0"}, {}),
    "version without stdin": ("portmap", "VERSION", b"", {}),
    "a person": ("bridge", "", b"", {"CNI_COMMAND": ""}),
    "no such verb": ("bridge", "DANCE", BRIDGE, {}),
    "no JSON": ("bridge", "ADD", b"{", {}),
    "no stdin": ("bridge", "ADD", b"", {}),
    "bytes that are no text": ("bridge", "ADD", b"\xff\xfe", {}),
    "deep JSON": ("bridge", "ADD", b"[" * 100000, {}),
    "no container": ("bridge", "ADD", BRIDGE, {"CNI_CONTAINERID": ""}),
    "a bad interface": ("bridge", "ADD", BRIDGE, {"CNI_IFNAME": "a/b"}),
    "an unknown version": ("bridge", "ADD", {**BRIDGE, "cniVersion": "9.0.0"}, {}),
    "CHECK before its time": ("bridge", "CHECK", {**BRIDGE, "cniVersion": "0.3.1"}, {}),
    "no namespace": ("bridge", "ADD", BRIDGE, NO_NAMESPACE),
    "a namespace that is gone": ("bridge", "ADD", BRIDGE, GONE),
    "the plugin's own": ("bridge", "ADD", BRIDGE, OWN),
    "DEL of what never was": ("bridge", "DEL", BRIDGE, GONE),
    "no prevResult": ("bridge", "CHECK", BRIDGE, {}),
    "loopback": ("loopback", "ADD", LOOPBACK, {}),
    "loopback DEL": ("loopback", "DEL", LOOPBACK, {}),
    "a wrong range": ("host-local", "ADD", {**HOST_LOCAL, "ipam": {"ranges": [[{"subnet": "x"}]]}}, {}),
    "unknown arguments": ("host-local", "ADD", {**HOST_LOCAL, "ipam": IPAM}, {"CNI_ARGS": "A=1;B"}),
    "no IPAM": ("bridge", "ADD", {**BRIDGE, "ipam": {"type": "nobody"}}, {}),
    "GC without a list": ("bridge", "GC", {**BRIDGE, "cniVersion": "1.1.0"}, {}),
    "STATUS": ("portmap", "STATUS", {"cniVersion": "1.1.0", "name": "same", "type": "portmap"}, {}),
    "debug": ("loopback", "ADD", {**LOOPBACK, "cniVersion": 3}, {}),
}


def answered(there: Cluster, case: str, *, warm: bool) -> tuple[int, bytes, bytes]:
    plugin, command, stdin, changed = CASES[case]
    environment = {
        "PATH": os.defpath + ":/usr/sbin:/sbin", "CNI_COMMAND": command, "CNI_CONTAINERID": "c1",
        "CNI_IFNAME": "eth0", "CNI_NETNS": there.containers[0], "CNI_PATH": str(there.built.folder), **changed,
        "CNI_PROVISION_SOCKET": SOCKET if warm else "",
    }  # fmt: skip
    text = stdin if isinstance(stdin, bytes) else json.dumps(stdin).encode()
    argv = there.host.enter(str(there.built.folder / plugin))
    done = subprocess.run(argv, input=text, capture_output=True, env=environment, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_warm_and_cold_say_the_same(cluster: Callable[[int], Cluster], tmp_path: Path) -> None:
    there = cluster(1)
    server = there.serve()
    different = {}
    for case in CASES:
        warm, cold = answered(there, case, warm=True), answered(there, case, warm=False)
        if warm != cold:
            different[case] = (warm, cold)
    assert not different
    served = len(CASES) - 2  # without a command or a container the executable itself answers, before it reads stdin
    eventually(lambda: sum(line.startswith("plugin=") for line in server.log.read_text().splitlines()) == served)


def test_an_attachment_is_described_alike(cluster: Callable[[int], Cluster]) -> None:
    """But for names and addresses that are given out anew each time."""
    there = cluster(2)
    there.serve()
    results = [there.call("ADD", there.bridge, number, cold=bool(number)).result for number in range(2)]
    shapes = [shape(result) for result in results]
    assert shapes[0] == shapes[1]


def shape(value: Any) -> Any:
    """Keys in their order, and the kinds of values."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("missing", ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS"])
def test_what_is_missing_is_said_while_stdin_is_open(
    cluster: Callable[[int], Cluster], warm: bool, missing: str
) -> None:
    there = cluster(1)
    there.serve()
    with suppress(BrokenPipeError), there.start("ADD", there.bridge, 0, cold=not warm, without=missing) as process:
        assert process.stdout is not None
        answer = process.stdout.read()  # to its end, though our end of its stdin is open
        assert process.wait(60) == (0 if missing == "CNI_COMMAND" else 1)
    assert missing == "CNI_COMMAND" or missing in json.loads(answer)["msg"]


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_paths_that_are_not_absolute_begin_where_the_caller_is(cluster: Callable[[int], Cluster], warm: bool) -> None:
    there = cluster(1)
    there.serve()
    folder = there.state / "here"
    folder.mkdir()
    (folder / "names").write_text("nameserver 192.0.2.1\n")
    config = {**HOST_LOCAL, "ipam": {**IPAM, "dataDir": "leases", "resolvConf": "names"}}
    for command in ("ADD", "CHECK"):
        with there.start(command, config, 0, cold=not warm, folder=folder) as process:
            answer = json.loads(process.communicate(timeout=60)[0] or b"{}")
            assert process.returncode == 0, answer
    assert [file.name for file in sorted((folder / "leases" / "same").glob("10.*"))] == ["10.1.0.2"]
