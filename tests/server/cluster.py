"""A host with many containers, and real executables that are called for them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.built import CAN_BE_SERVED, Built
from tests.plugins.conftest import Namespace
from tests.warm import SOCKET, Nursery, Server

SERVED = pytest.mark.skipif(not CAN_BE_SERVED, reason="no launcher can be built here: ziglang is not installed")
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

    def start(
        self,
        command: str,
        config: dict,
        number: int,
        *,
        cold: bool = False,
        without: str = "",
        folder: Path = Path("/"),
    ) -> subprocess.Popen:
        """One execution in that working directory; it lacks the variable `without`."""
        program = str(self.built.folder / config["type"])
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, "CNI_PATH": str(self.built.folder),
            "CNI_CONTAINERID": f"c{number}", "CNI_IFNAME": "eth0", "CNI_NETNS": self.containers[number],
            **({"CNI_PROVISION_SOCKET": ""} if cold else {}),
        }  # fmt: skip
        environment.pop(without, None)
        argv = self.host.enter("env", "-C", str(folder), program)
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
