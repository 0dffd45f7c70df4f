"""Who does the work: our executables with and without a server, the reference's, and the bare kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.plugins.driver import Step
from cni_provision.artifact import build_plugin, builtin_plugins

SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
NO_SERVER = {"CNI_PROVISION_SOCKET": ""}
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


def build(folder: Path) -> None:
    """Our executables, as `apply` would install them."""
    folder.mkdir()
    for name, source in builtin_plugins().items():
        file = folder / name
        file.write_bytes(build_plugin(source))
        file.chmod(0o755)


def engines(ours: Path, peer: Path, *, server: bool) -> tuple[Engine, ...]:
    warm = (Engine(WARM, 61, ours),) if server else ()
    return (*warm, Engine(COLD, 62, ours, NO_SERVER), Engine(GO, 63, peer), Engine(FLOOR, 64))


def without_bytecode_ban() -> dict[str, str]:
    """This process's environment; bytecode is kept as on a user's machine."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
