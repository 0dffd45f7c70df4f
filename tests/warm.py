"""Plugin servers for tests, in the namespaces of a test's host, forked from one process that has loaded all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30.0
SOCKET = "/run/cni-provision/server/socket"


@dataclass(frozen=True)
class Server:
    """A running server; `socket` as its own mount namespace names it, `log` what it wrote to stderr."""

    pid: int
    socket: str
    log: Path

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.await_end()

    def end(self) -> None:
        """SIGTERM, and wait until it has finished what it began."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self.await_end()

    def await_end(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.runs():
            assert time.monotonic() < deadline, f"the server {self.pid} does not end: {self.log.read_text()}"
            time.sleep(0.005)

    def runs(self) -> bool:
        return os.path.exists(f"/proc/{self.pid}")

    def memory(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


class Nursery:
    """A process that forks servers; they end with it. A context manager."""

    def __init__(self, python: str = sys.executable) -> None:
        argv = [python, "-S", "-m", "tests.warm"]
        environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def serve(self, plugins: Mapping[str, str], log: Path, *, within: int | None = None, socket: str) -> Server:
        """A server for digest → plugin that listens already, in the mount and network namespace of process `within`.

        Its environment is empty.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"plugins": dict(plugins), "log": str(log), "within": within, "socket": socket}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        deadline = time.monotonic() + PATIENCE
        while "listens on" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert os.path.exists(f"/proc/{pid}"), log.read_text()
            time.sleep(0.002)
        return Server(pid, socket, log)


def nurse() -> None:
    """Fork a server for each line on stdin, and print its process id."""
    from cni_provision.server import catalogue

    catalogue.import_everything()
    for name in sorted(file.stem for file in (ROOT / "plugins").glob("*.py")):
        __import__(f"plugins.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        pid = os.fork()
        if not pid:
            become_server(order, log)
        os.close(log)
        print(pid, flush=True)


def become_server(order: dict, log: int) -> None:
    import ctypes

    from cni_provision.server import main
    from cni_provision.server.catalogue import Catalogue
    from cni_provision.server.log import Log
    from cni_provision.server.place import Place

    os.dup2(log, 2)
    os.dup2(log, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    try:
        if order["within"]:
            enter(libc, order["within"])
        modules = {
            digest: sys.modules[f"plugins.{name.replace('-', '_')}"] for digest, name in order["plugins"].items()
        }
        plugins = {digest: module.PLUGIN for digest, module in modules.items()}
        main.serve(Place(order["socket"]), Catalogue("test", plugins), Log({}))
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
    os._exit(0)


def enter(libc: object, pid: int) -> None:
    for name in ("net", "mnt"):
        with open(f"/proc/{pid}/ns/{name}") as file:
            assert libc.setns(file.fileno(), 0) == 0, name  # type: ignore[attr-defined]


if __name__ == "__main__":
    nurse()
