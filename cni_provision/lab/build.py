"""A lab comes up and goes down: the holder process, the nodes below it, and the folder that describes them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cni_provision.errors import LabFailed, UserError
from cni_provision.lab import golden, requirements, state
from cni_provision.lab.inventory import write_ssh_files
from cni_provision.lab.state import Lab, LabNode

HERE = Path(__file__).resolve().parent
MOST = 200
PATIENCE = 30.0  # seconds until every node's SSH server listens
LISTENS = ":0016 00000000:0000 0A"  # port 22, state LISTEN (proc(5), /proc/net/tcp)


@dataclass(frozen=True)
class Shape:
    """What is special about a lab's nodes: with `opt_size` (`1m`), /opt is a file system of that size."""

    opt_size: str | None = None


def up(count: int, name: str = "default", shape: Shape | None = None) -> Lab:
    """Nodes `node-1` … `node-<count>`; returns when their SSH servers listen.

    Raises `UserError` where the lab is up already, `LabFailed` where this machine cannot carry it. Nothing is
    left of a lab that fails.
    """
    requirements.check()
    if not 1 <= count <= MOST:
        raise UserError(f"a lab has 1 to {MOST} nodes, not {count}")
    _clear(name)
    nodes = tuple(LabNode(f"node-{i}", f"10.200.1.{i}", f"fd10:200::1:{i}") for i in range(1, count + 1))
    with ExitStack() as stack:
        folder = _make_folder(name)
        stack.callback(_remove, folder)
        golden.build(folder, nodes)
        (folder / "opt_size").write_text((shape or Shape()).opt_size or "")
        lab = _started(name, folder, nodes)
        write_ssh_files(lab)
        lab.save()
        stack.pop_all()
    return lab


def down(name: str = "default") -> None:
    """End a lab and everything in it, also one that never came up; raises `UserError` where there is none."""
    folder = state.folder(name)
    _remove(folder if folder.exists() else state.find(name).folder)


def _clear(name: str) -> None:
    """Remove what is left of a lab whose holder was ended, or of one that was never finished."""
    folder = state.folder(name)
    if not folder.exists():
        return
    with suppress(UserError):
        if state.find(name).alive:
            raise LabFailed(f"the lab `{name}` is up already", hint=f"`cni-provision lab down --name {name}` ends it")
    _remove(folder)


def _make_folder(name: str) -> Path:
    folder = state.folder(name)
    state.ROOT.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700)
    for part in ("pid", "log", "upper"):
        (folder / part).mkdir()
    return folder


def _remove(folder: Path) -> None:
    """End the holder that `folder` names, if it still runs, and remove the folder."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        holder = int((folder / "pid/holder").read_text())
        if str(folder).encode() in Path(f"/proc/{holder}/cmdline").read_bytes():
            _end(holder, state.birth(holder))
    shutil.rmtree(folder)
    with suppress(OSError):
        state.ROOT.rmdir()


def _end(holder: int, born: str) -> None:
    """Kill the first process of the lab's PID namespace: the kernel kills all others with it (pid_namespaces(7))."""
    if not born or state.birth(holder) != born:
        return
    with suppress(ProcessLookupError):
        os.kill(holder, signal.SIGKILL)
    _until(lambda: state.birth(holder) != born, "the lab's holder does not end")


def _started(name: str, folder: Path, nodes: tuple[LabNode, ...]) -> Lab:
    """Start holder and nodes; they outlive this program."""
    spaces = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
    argv = ["setsid", "--fork", "unshare", *spaces, "--", "sh", str(HERE / "holder.sh"), str(folder)]
    lines = "".join(f"{node.name} {node.address} {node.address6} port{i}\n" for i, node in enumerate(nodes, 1))
    with (folder / "log/holder").open("wb") as log:
        subprocess.run(argv, input=lines.encode(), stdout=log, stderr=log, check=True, cwd="/")
    holder = _pid(folder, "holder")
    return Lab(name, holder, state.birth(holder), tuple(_listening(folder, node) for node in nodes))


def _listening(folder: Path, node: LabNode) -> LabNode:
    pid = _pid(folder, node.name)
    tcp = Path(f"/proc/{pid}/net/tcp")
    with suppress(FileNotFoundError):
        _until(lambda: LISTENS in tcp.read_text(), f"the SSH server of `{node.name}` does not listen")
        return replace(node, pid=pid)
    raise LabFailed(f"`{node.name}` did not start: {_said(folder, node.name)}")


def _pid(folder: Path, who: str) -> int:
    """The process id that holder or node writes down; raises `LabFailed` with what it said instead."""
    file = folder / "pid" / who
    _until(lambda: file.exists() and file.read_text(), f"the lab's `{who}` did not start")
    pid = int(file.read_text())
    if not pid:
        raise LabFailed(f"the lab's `{who}` did not start: {_said(folder, who)}")
    return pid


def _said(folder: Path, who: str) -> str:
    lines = (folder / "log" / who).read_text(errors="replace").split("\n")
    return " / ".join(line for line in lines if line) or "it said nothing"


def _until(true: Callable[[], object], complaint: str) -> None:
    """Wait until `true()`; raises `LabFailed` after `PATIENCE` seconds."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise LabFailed(complaint)
        time.sleep(0.005)
