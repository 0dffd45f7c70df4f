"""Who does the work: our executables with and without a server, the reference's, and the bare kernel."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.plugins.driver import Step
from bench.plugins.hosts import Host
from cni_provision.artifact import build_plugin, builtin_plugins, default_cache
from cni_provision.artifact_launcher import launcher, own_architecture

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"  # the node's
SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
NO_SERVER = {"CNI_PROVISION_SOCKET": ""}
SOCKET = "/run/cni-provision/server/socket"
STARTED = 10.0  # seconds
WARM, COLD, GO, FLOOR = "warm", "cold", "go", "floor"


@dataclass(frozen=True)
class Engine:
    """Executables in a folder (none for the floor), which number its subnets have, and what else they are told."""

    name: str
    number: int
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def step(self, plugin: str, command: str, stdin: str, netns: str, container: str) -> Step:
        """One execution as a runtime would; container id and namespace may hold the driver's `@{…}`."""
        variables = {
            "PATH": SEARCH, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0", "CNI_PATH": str(self.folder), **self.environment,
        }  # fmt: skip
        return Step(f"{self.folder}/{plugin}", stdin, variables)


def engines(ours: Path, peer: Path) -> tuple[Engine, ...]:
    return Engine(WARM, 61, ours), Engine(COLD, 62, ours, NO_SERVER), Engine(GO, 63, peer), Engine(FLOOR, 64)


def build(folder: Path) -> dict[str, str]:
    """Our executables, as `apply` would install them: name → digest."""
    folder.mkdir()
    head = launcher(own_architecture(), default_cache())
    digests = {}
    for name, plugin in builtin_plugins().items():
        content = build_plugin(plugin, head)
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def keep_bytecode(host: Host, folder: Path) -> None:
    """Compile our executables for the node's Python, as `apply` does where this checkout can."""
    if importlib.util.find_spec("cni_provision.node.bytecode") is None:
        return
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; "
    code += "from cni_provision.node import bytecode; bytecode.refresh({path: path for path in sys.argv[1:]})"
    host.run(PYTHON, "-I", "-S", "-c", code, *(str(file) for file in sorted(folder.iterdir())))


@contextmanager
def server(host: Host, digests: Mapping[str, str]) -> Iterator[int]:
    """The server of a host; its process id."""
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; sys.argv = ['server']; "
    code += f"from cni_provision.server.main import main; main({json.dumps(digests)!r})"
    argv = host.inside(PYTHON, "-I", "-S", "-c", code)
    with subprocess.Popen(argv, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            await_socket(process.pid)
            yield process.pid
        finally:
            process.terminate()


def await_socket(pid: int) -> None:
    socket = Path(f"/proc/{pid}/root{SOCKET}")
    until = time.monotonic() + STARTED
    while not socket.exists():
        if time.monotonic() > until:
            sys.exit("bench: the server does not start")
        time.sleep(0.01)


def environment() -> dict[str, str]:
    """This process's, but that bytecode is kept as on a user's machine."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
