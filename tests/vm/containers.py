"""Containers of Molecule's tests: network namespaces of a machine, attached through the plugins installed there.

What attaches them is this project's own runtime library, sent over with `tests.vm.inside`.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cni_provision.node import bundle

FOLDER = "/opt/containers"
UNPACK = f"cat >{FOLDER}.zip && rm -rf {FOLDER} && python3 -m zipfile -e {FOLDER}.zip {FOLDER}"
INSIDE = Path(__file__).with_name("inside.py")
# not `ip netns`, which wants a /run that is shared
MAKE = """
mkdir -p /run/netns && touch /run/netns/{0}
unshare --net=/run/netns/{0} true && nsenter --net=/run/netns/{0} ip link set lo up
"""
BACKGROUND = "nsenter --net=/run/netns/{0} {1} >/run/{0}.log 2>&1 </dev/null & echo $! >>/run/{0}.pids"
END = """
[ ! -e /run/{0}.pids ] || kill $(cat /run/{0}.pids)
umount /run/netns/{0}; rm -f /run/netns/{0} /run/{0}.pids
"""


@dataclass(frozen=True)
class Container:
    """A namespace on a network."""

    host: Any
    name: str
    network: str
    result: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.result["ips"][0]["address"]).partition("/")[0]

    def run(self, *argv: str) -> str:
        """What a command, which must succeed, prints in the container."""
        words = " ".join(["%s"] * len(argv))
        done = self.host.run(f"nsenter --net=/run/netns/{self.name} {words}", *argv)
        assert done.rc == 0, done.stdout + done.stderr
        return str(done.stdout)

    def start(self, *words: str) -> None:
        """A verb of `tests.vm.inside` that runs as long as the container."""
        command = BACKGROUND.format(self.name, f"python3 {FOLDER} {' '.join(words)}")
        assert self.host.run(command).rc == 0

    def serve(self) -> None:
        """A page with the container's name, at port 80."""
        self.start("serve", self.name)

    def reads(self, other: Container) -> bool:
        """Whether TCP gets the page of another container."""
        return self.run("python3", FOLDER, "read", other.address).strip() == other.name

    def pings(self, other: Container) -> bool:
        return " 0% packet loss" in self.run("ping", "-c", "3", "-W", "10", other.address)

    def sends(self, size: int, other: Container) -> float:
        """Seconds until another container has so many bytes."""
        other.start("receive")
        return float(self.run("python3", FOLDER, "send", other.address, str(size)))


@dataclass
class Containers:
    """Those of one machine; `folder` has its `ssh_config`."""

    host: Any
    folder: Path = field(default_factory=lambda: Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]))

    def __post_init__(self) -> None:
        command = ["ssh", "-F", str(self.folder / "ssh_config"), self.host.backend.hostname, UNPACK]
        subprocess.run(command, input=archive(), check=True)

    @property
    def machines(self) -> dict[str, Any]:
        """What is known of the machines (`tests.vm.machines`)."""
        told: dict[str, Any] = json.loads((self.folder / "machines.json").read_text())
        return told

    @contextmanager
    def attached(self, name: str, network: str, **capabilities: Any) -> Iterator[Container]:
        """A new container, which is gone afterwards."""
        made = self.host.run(MAKE.format(name))
        assert made.rc == 0, made.stderr
        try:
            result = json.loads(self.ask("add", network, name, capabilities))
            yield Container(self.host, name, network, result)
            self.ask("del", network, name, capabilities)
        finally:
            self.host.run(END.format(name))

    def ask(self, verb: str, network: str, name: str, capabilities: dict[str, Any]) -> str:
        done = self.host.run(f"python3 {FOLDER} %s %s %s %s", verb, network, name, json.dumps(capabilities))
        assert done.rc == 0, done.stdout + done.stderr
        return str(done.stdout)


def archive() -> bytes:
    """The library and the program that calls it, for `python3 FOLDER`, which keeps what it has compiled."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archived:
        for module, source in bundle.sources().items():
            if module == "cni_provision" or module.startswith("cni_provision.cni"):
                name = module.replace(".", "/")
                package = module in ("cni_provision", "cni_provision.cni")
                archived.writestr(f"{name}/__init__.py" if package else f"{name}.py", source)
        archived.writestr("__main__.py", INSIDE.read_text())
    return content.getvalue()
