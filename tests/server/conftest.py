"""A door in a thread of the test, which serves the test itself: its executable counts as that of a plugin."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni.outcome import Outcome
from cni_provision.cni.skel import Call, Plugin
from cni_provision.cni.types import Result
from cni_provision.server import wire
from cni_provision.server.catalogue import Catalogue
from cni_provision.server.door import Door
from cni_provision.server.log import Log
from cni_provision.server.peer import Files
from cni_provision.server.place import Place
from cni_provision.server.wire import Connection, Request
from tests.built import Built, build
from tests.plugins.conftest import HOLD_HOST, Namespace
from tests.server.cluster import HOLD_CONTAINERS, Cluster
from tests.warm import Nursery

PATIENCE = 10.0


@dataclass
class Toy:
    """A plugin that notes what it is called for; what a test puts into `on` is called first."""

    name: str = "toy"
    calls: list[str] = field(default_factory=list)
    on: dict[str, Callable[[Call], None]] = field(default_factory=dict)

    def note(self, call: Call) -> None:
        self.calls.append(f"{call.command} {call.container_id}".strip())
        if call.command in self.on:
            self.on[call.command](call)

    def add(self, call: Call) -> Result:
        self.note(call)
        return Result(call.version)

    @property
    def plugin(self) -> Plugin:
        return Plugin(self.name, self.add, self.note, self.note, self.note, self.note)


class Caller:
    """The launcher's side of one conversation."""

    def __init__(self, path: str) -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(PATIENCE)
        self.stream.connect(path)
        self.connection = Connection(self.stream)

    def greeting(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            byte = self.stream.recv(1)
            assert byte, f"hung up after {line!r}"
            line += byte
        return line.decode().strip()

    def ask(self, command: str, *, container_id: str = "one", **config: Any) -> None:
        """Send the request, with a namespace for those that have one."""
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container_id, "CNI_IFNAME": "eth0"}
        environment |= {"CNI_NETNS": "/given", "CNI_NETNS_OVERRIDE": "1", "CNI_PATH": config.pop("path", "/nowhere")}
        text = json.dumps({"cniVersion": "1.1.0", "name": "pods", "type": "toy", **config}).encode()
        self.send(wire.frame(wire.REQUEST, wire.encode_request(Request("toy", environment, text))))

    def send(self, data: bytes) -> None:
        with open("/proc/self/ns/net") as netns:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [netns.fileno()]))]
            sent = self.stream.sendmsg([data], rights)
        if data[sent:]:
            self.stream.sendall(data[sent:])

    def answer(self) -> Outcome:
        """(code, stdout, stderr); not acknowledged yet."""
        payload = self.connection.receive(wire.ANSWER, PATIENCE)
        length = int.from_bytes(payload[1:5], "little")
        return Outcome(payload[0], payload[5 : 5 + length], payload[5 + length :].decode())

    def acknowledge(self) -> None:
        self.connection.send(wire.ACKNOWLEDGE, b"")

    def close(self) -> None:
        self.connection.close()


@dataclass
class Served:
    """A door that is open: `toy` is the plugin, `path` the socket."""

    toy: Toy
    path: str
    door: Door
    thread: threading.Thread
    callers: list[Caller] = field(default_factory=list)

    def connect(self) -> Caller:
        caller = Caller(self.path)
        self.callers.append(caller)
        return caller

    def caller(self) -> Caller:
        """One that was told `ready`."""
        caller = self.connect()
        assert caller.greeting().startswith("cni-provision 1 ready ")
        return caller

    def call(self, command: str, **how: Any) -> Outcome:
        """A whole conversation."""
        caller = self.caller()
        caller.ask(command, **how)
        outcome = caller.answer()
        caller.acknowledge()
        caller.close()
        return outcome

    def told(self) -> dict[str, Any]:
        """The counters as the file has them now."""
        return dict(json.loads((Path(self.path).parent / "stat.json").read_text()))

    def close(self) -> None:
        """End it, and wait until it has ended."""
        for caller in self.callers:
            caller.close()
        self.door.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.door.close()


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """A function that opens doors; they are closed when the test ends."""
    with ExitStack() as stack:

        def make(toy: Toy | None = None, more: dict[str, Plugin] | None = None) -> Served:
            toy = toy or Toy()
            place = Place(str(tmp_path / "server" / "socket"))
            place.take()
            own = Files().digest(os.path.realpath(sys.executable))
            catalogue = Catalogue("build-1", {own: toy.plugin, **(more or {})})
            listener = place.listen({})
            stack.callback(place.leave, unlink=True)
            stack.enter_context(listener)
            door = Door(listener, place, catalogue, Log({}))
            thread = threading.Thread(target=door.run)
            thread.start()
            served = Served(toy, place.path, door, thread)
            stack.callback(served.close)
            return served

        yield make


@pytest.fixture
def served(open_door: Callable[..., Served]) -> Served:
    return open_door()


def eventually(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(AssertionError):
            if holds():
                return
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.002)


@pytest.fixture
def descriptors() -> Callable[[], int]:
    """How many descriptors this process has open."""
    return lambda: len(os.listdir("/proc/self/fd"))


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
