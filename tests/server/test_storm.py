"""Storms of real calls: servers and launchers that are killed, and warm and cold calls side by side.

The end is compared with what was answered: every ADD that succeeded is there, and nothing else is.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.built import Built, build
from tests.plugins.conftest import HOLD_HOST, Namespace
from tests.warm import SOCKET, Nursery, Server

pytestmark = [pytest.mark.root, pytest.mark.slow]

AT_ONCE = 16
SECONDS = 60
# each line names one container; its namespace stays as long as this process lives
HOLD_CONTAINERS = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for _ in range(int(sys.argv[1])):
    assert libc.unshare(0x40000000) == 0
    print(os.open("/proc/self/ns/net", os.O_RDONLY), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Called:
    """What one execution of a plugin answered; None where it was killed."""

    code: int | None
    result: dict | None


@dataclass
class Cluster:
    """A host with many containers, and the plugins that are called for them."""

    host: Namespace
    containers: list[str]
    built: Built
    state: Path
    nursery: Nursery
    server: Server | None = None

    def serve(self) -> Server:
        log = self.state / "log"
        self.server = self.nursery.serve(self.built.plugins, log, within=self.host.pid, socket=SOCKET)
        return self.server

    @property
    def bridge(self) -> dict:
        ranges = [[{"subnet": "10.99.0.0/20"}]]
        ipam = {"type": "host-local", "dataDir": str(self.state / "leases"), "ranges": ranges}
        head = {"cniVersion": "1.1.0", "name": "storm", "type": "bridge", "bridge": "storm0"}
        return {**head, "isGateway": True, "ipMasq": True, "ipam": ipam}

    def portmap(self, number: int, result: dict) -> dict:
        mappings = [{"hostPort": 20000 + number, "containerPort": 80, "protocol": "tcp"}]
        head = {"cniVersion": "1.1.0", "name": "storm", "type": "portmap"}
        return {**head, "runtimeConfig": {"portMappings": mappings}, "prevResult": result}

    def start(self, command: str, config: dict, number: int, *, cold: bool = False) -> subprocess.Popen:
        program = str(self.built.folder / config["type"])
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, "CNI_PATH": str(self.built.folder),
            "CNI_CONTAINERID": f"c{number}", "CNI_IFNAME": "eth0", "CNI_NETNS": self.containers[number],
            **({"CNI_PROVISION_SOCKET": ""} if cold else {}),
        }  # fmt: skip
        argv = self.host.enter(program)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        process.stdin.write(json.dumps(config).encode())
        return process

    def call(self, command: str, config: dict, number: int, *, cold: bool = False) -> Called:
        with self.start(command, config, number, cold=cold) as process:
            return called(process)

    def add(self, number: int, *, cold: bool = False) -> bool:
        """Both plugins, as a runtime: True where both answered success."""
        first = self.call("ADD", self.bridge, number, cold=cold)
        if first.code != 0 or first.result is None:
            return False
        return self.call("ADD", self.portmap(number, first.result), number, cold=cold).code == 0

    def delete(self, number: int, *, cold: bool = False) -> None:
        """As after an ADD whose result nobody kept."""
        for config in (self.portmap(number, {"cniVersion": "1.1.0"}), self.bridge):
            config.pop("prevResult", None)
            done = self.call("DEL", config, number, cold=cold)
            assert done.code == 0, done

    def gc(self, live: set[int]) -> None:
        valid = [{"containerID": f"c{number}", "ifname": "eth0"} for number in sorted(live)]
        for config in (self.bridge, {"cniVersion": "1.1.0", "name": "storm", "type": "portmap"}):
            done = self.call("GC", {**config, "cni.dev/valid-attachments": valid}, 0)
            assert done.code == 0, done

    def leases(self) -> set[int]:
        """The containers that have an address."""
        folder = self.state / "leases" / "storm"
        owners = [file.read_text().split()[0] for file in folder.glob("10.*")]
        assert len(owners) == len(set(owners))
        return {int(owner.removeprefix("c")) for owner in owners}

    def ports(self) -> set[int]:
        """The containers that are plugged into the bridge."""
        links = [one for one in self.host.ip("link", "show") if one.get("master") == "storm0"]
        assert all("ifalias" in one for one in links), links
        return {int(one["ifalias"].split("/")[1].removeprefix("c")) for one in links}

    def mapped(self) -> set[int]:
        """The containers that have a port of the host."""
        return {element["elem"]["val"]["concat"][1] - 20000 for element in self.elements("cni_portmap")}

    def masqueraded(self) -> int:
        return len(list(self.elements("cni_masquerade")))

    def elements(self, table: str) -> Iterator[dict]:
        for entry in json.loads(self.host.nft("-j", "list", "ruleset"))["nftables"]:
            if entry.get("map", {}).get("table") == table:
                yield from (key for key, _ in entry["map"].get("elem", ()))

    def assert_live(self, live: set[int]) -> None:
        """The attachments of these containers, whole, and nothing of any other."""
        assert self.leases() == live
        assert self.ports() == live
        assert self.mapped() == live
        assert self.masqueraded() == len(live)
        listed = self.host.run("ls", "/run/cni-provision/attachments").split()
        records = [name for name in listed if name != "lock"]
        assert len(records) == 2 * len(live), records


def called(process: subprocess.Popen) -> Called:
    try:
        stdout, _ = process.communicate(timeout=SECONDS)
    except BrokenPipeError:
        stdout = b""
        process.wait(SECONDS)
    code = None if process.returncode < 0 else process.returncode
    try:
        return Called(code, json.loads(stdout) if stdout.strip() else None)
    except ValueError:
        return Called(code, None)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture
def cluster(built: Built, nursery: Nursery, tmp_path: Path) -> Iterator[Callable[[int], Cluster]]:
    """A function that makes a host with so many containers."""
    with ExitStack() as stack:

        def make(count: int) -> Cluster:
            unshare = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD_HOST]
            host = stack.enter_context(subprocess.Popen(unshare, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(host.kill)
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
            argv = ["/usr/bin/env", "python3", "-c", HOLD_CONTAINERS, str(count)]
            holder = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(holder.kill)
            assert holder.stdout is not None
            numbers = [int(holder.stdout.readline()) for _ in range(count)]
            containers = [f"/proc/{holder.pid}/fd/{number}" for number in numbers]
            made = Cluster(Namespace(host.pid), containers, built, tmp_path, nursery)
            stack.callback(lambda: made.server and made.server.kill())
            return made

        yield make


def test_a_warm_storm_never_falls_back(cluster: Callable[[int], Cluster]) -> None:
    there = cluster(100)
    server = there.serve()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(there.add, range(100)))
        there.assert_live(set(range(100)))
        list(pool.map(there.delete, range(100)))
    there.assert_live(set())
    server.end()
    lines = server.log.read_text().splitlines()
    assert not any("cold=" in line for line in lines)
    assert sum("verb=ADD" in line for line in lines) == 200
    assert sum("verb=DEL" in line for line in lines) == 200


def test_half_of_a_storm_warm_and_half_cold_ends_alike(cluster: Callable[[int], Cluster]) -> None:
    there = cluster(40)
    there.serve()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(lambda number: there.add(number, cold=number % 2 == 0), range(40)))
        there.assert_live(set(range(40)))
        list(pool.map(lambda number: there.delete(number, cold=number % 4 < 2), range(40)))
    there.assert_live(set())


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_is_killed_in_a_storm(cluster: Callable[[int], Cluster], seed: int) -> None:
    there, chance = cluster(200), random.Random(seed)
    server = there.serve()
    after, without = chance.uniform(0.1, 1.0), 0.3
    killer = threading.Timer(after, lambda: [server.kill(), time.sleep(without), there.serve()])
    killer.start()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(there.add, range(200)))
        killer.join()
        live = {number for number, succeeded in enumerate(answers) if succeeded}
        lost = set(range(200)) - live
        assert live
        there.gc(live) if seed % 2 else list(pool.map(there.delete, lost))
    there.assert_live(live)
    some = sorted(live)[:5]
    for number in some:
        there.delete(number)
        assert there.add(number)
    assert f"verb=ADD network=storm container=c{some[0]}" in server.log.read_text()
    there.assert_live(live)


@pytest.mark.parametrize("cleaned", [True, False], ids=["then DEL", "without DEL"])
def test_launchers_that_are_killed(cluster: Callable[[int], Cluster], cleaned: bool) -> None:
    there, chance = cluster(60), random.Random(7)
    there.serve()
    delays = [chance.uniform(0.0, 0.06) for _ in range(60)]

    def attach(number: int) -> bool:
        if number % 3 == 0:
            return there.add(number)
        with there.start("ADD", there.bridge, number) as process:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            time.sleep(delays[number])
            os.kill(process.pid, signal.SIGKILL)
            done = called(process)
        return done.code == 0 and done.result is not None

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attach, range(60)))
    live = {number for number, succeeded in enumerate(answers) if succeeded}
    assert 60 > len(live) >= 20
    mapped = {number for number in live if number % 3 == 0}
    if cleaned:
        for number in set(range(60)) - mapped:
            there.delete(number)
        there.assert_live(mapped)
        return
    wait_for(lambda: there.leases() == live)
    assert there.ports() == live
    assert there.mapped() == mapped


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
