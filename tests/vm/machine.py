"""A guest under QEMU with the checkout in it, and commands in the guest.

It is emulated, not virtualised: `/dev/kvm` may open and make a machine that then hangs, and few tests run here.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import cpio, qemu
from tests.vm.image import Image, add_tree

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ("cni_provision", "plugins", "templates", "tests")
MEMORY_MIB = 2048
SECONDS_TO_BOOT = 180


@dataclass(frozen=True)
class Done:
    """How a command in the guest ended."""

    code: int
    output: str


@dataclass(frozen=True)
class Machine:
    """A running guest; `console` is the file that its kernel writes to."""

    wire: socket.socket
    console: Path

    def run(self, *argv: str, seconds: float = 300) -> Done:
        self.wire.settimeout(seconds + 30)
        self.wire.sendall(json.dumps([argv, seconds]).encode() + b"\n")
        code, output = json.loads(self.line())
        return Done(code, output)

    def line(self) -> bytes:
        """The next line from the guest; the test fails when there will be none."""
        received = b""
        while not received.endswith(b"\n"):
            try:
                chunk = self.wire.recv(65536)
            except TimeoutError:
                chunk = b""
            if not chunk:
                pytest.fail(f"the guest does not answer; its console:\n{self.console.read_text(errors='replace')}")
            received += chunk
        return received


@contextlib.contextmanager
def boot(image: Image, scratch: Path) -> Iterator[Machine]:
    """A guest that has booted; it is gone afterwards."""
    files, wire, console = scratch / "root.cpio", scratch / "wire", scratch / "console"
    with_project(image.root, files)
    here, there = socket.socket(socket.AF_UNIX), str(wire)
    argv = [
        *qemu.argv(MEMORY_MIB, "-no-reboot"), "-kernel", str(image.kernel), "-initrd", str(files),
        "-append", qemu.KERNEL_ARGUMENTS, "-serial", f"file:{console}", "-serial", f"unix:{there},server=on,wait=on",
    ]  # fmt: skip
    with here, subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            connect(here, there, process)
            machine = Machine(here, console)
            here.settimeout(SECONDS_TO_BOOT)
            assert machine.line() == b"ready\n"
            yield machine
        finally:
            process.kill()
            files.unlink()


def with_project(root: Path, target: Path) -> None:
    """The image's root and, as a second archive in the same file, what of the checkout tests need."""
    shutil.copyfile(root, target)
    with target.open("ab") as out:
        writer = cpio.Writer(out)
        for name in PROJECT:
            add_tree(writer, ROOT / name, f"project/{name}")
        writer.file("project/pyproject.toml", (ROOT / "pyproject.toml").read_bytes())
        writer.close()


def connect(here: socket.socket, path: str, process: subprocess.Popen[str]) -> None:
    """Wait until QEMU listens; it starts the guest then."""
    end = time.monotonic() + 30
    while True:
        try:
            return here.connect(path)
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.fail(f"QEMU does not start: {process.stderr.read() if process.stderr else ''}")
            time.sleep(0.05)
