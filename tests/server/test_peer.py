"""Whom the server serves: each way of being somebody else is told `cold`, and gets nothing however it goes on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cni_provision.server import peer
from cni_provision.server.peer import Files, Stranger
from tests.server.conftest import Served, eventually

pytestmark = pytest.mark.root

PYTHON = os.path.realpath(sys.executable)
USER = ("setpriv", "--reuid=65534", "--clear-groups")
EVERYBODYS_PYTHON = "/usr/bin/python3"  # ours may be where only root can read
# says what it was told, then asks all the same
ASK = """
import socket, struct, sys
stream = socket.socket(socket.AF_UNIX)
try:
    stream.connect(sys.argv[1])
except OSError as error:
    sys.exit(print(type(error).__name__))
print(stream.makefile().readline().strip(), flush=True)
payload = b"toy\\0CNI_COMMAND=STATUS\\0CNI_PATH=/\\0\\0" + b'{"cniVersion": "1.1.0", "name": "pods", "type": "toy"}'
try:
    stream.sendall(b"R" + struct.pack("<I", len(payload)) + payload)
    print(len(stream.recv(100)))
except OSError:
    print(0)
"""


@pytest.fixture
def reachable(open_door: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A door whose folder lets everybody in, as if that had gone wrong."""
    served = open_door()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir="/tmp"))
        stack.callback(shutil.rmtree, folder)
        for path in (folder, Path(served.path).parent):
            path.chmod(0o755)
        os.chmod(served.path, 0o777)
        path = folder / "socket"
        os.link(served.path, path)
        yield Served(served.toy, str(path), served.door, served.thread)


def ask(path: str, *before: str, python: str = PYTHON) -> list[str]:
    if before[: len(USER)] == USER:
        python = EVERYBODYS_PYTHON
        if not os.path.exists(python):
            pytest.skip(f"no {python}, and a user cannot read another")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if python != EVERYBODYS_PYTHON:
        environment["PYTHONHOME"] = sys.base_prefix
    done = subprocess.run(
        [*before, python, "-S", "-c", ASK, path], capture_output=True, text=True, env=environment, timeout=30
    )
    return [*done.stdout.split("\n")[:-1], *done.stderr.splitlines()[-1:]]


def test_our_own_kind_is_served(reachable: Served) -> None:
    line, answered = ask(reachable.path)
    assert line == "cni-provision 1 ready build-1"
    assert int(answered) > 0
    assert reachable.toy.calls == ["STATUS"]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        pytest.param(USER, "not root", id="a user"),
        pytest.param(("setpriv", "--bounding-set=-sys_admin"), "capabilities", id="root without CAP_SYS_ADMIN"),
        pytest.param(("setpriv", "--bounding-set=-net_admin"), "capabilities", id="root without CAP_NET_ADMIN"),
        pytest.param(("setpriv", "--bounding-set=-all"), "capabilities", id="root without any"),
        pytest.param(("unshare", "--mount"), "other mnt namespace", id="another mount namespace"),
        pytest.param(("unshare", "--net"), "other net namespace", id="another network namespace"),
        pytest.param(("unshare", "--pid", "--fork"), "other pid namespace", id="another pid namespace"),
        pytest.param(("unshare", "--user", "--map-root-user"), "other user namespace", id="another user namespace"),
        pytest.param(
            ("setpriv", "--reuid=65534", "--clear-groups", "unshare", "--user", "--map-root-user"),
            "not root",
            id="a user who is root in a user namespace",
        ),
    ],
)
def test_anybody_else_is_told_cold_and_gets_nothing(reachable: Served, before: tuple[str, ...], reason: str) -> None:
    assert ask(reachable.path, *before) == [f"cni-provision 1 cold {reason}", "0"]
    assert reachable.toy.calls == []


def test_another_file_is_told_cold(reachable: Served, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_bytes(Path(PYTHON).read_bytes() + b"changed")
    other.chmod(0o755)
    assert ask(reachable.path, python=str(other)) == ["cni-provision 1 cold other file", "0"]


def test_a_file_that_changes_is_looked_at_again(reachable: Served, tmp_path: Path) -> None:
    same = tmp_path / "python"
    shutil.copy(PYTHON, same)
    assert ask(reachable.path, python=str(same))[0] == "cni-provision 1 ready build-1"
    with same.open("ab") as file:
        file.write(b"changed")
    assert ask(reachable.path, python=str(same))[0] == "cni-provision 1 cold other file"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param((), "cni-provision 1 cold other root directory", id="chroot"),
        pytest.param(None, "cni-provision 1 ready build-1", id="chroot to /"),
    ],
)
def test_another_root_is_told_cold(reachable: Served, tmp_path: Path, options: object, told: str) -> None:
    """Also one that is the same directory, mounted a second time."""
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["mount", "--rbind", "/", str(root)], check=True)
    try:
        subprocess.run(["mount", "--make-rslave", str(root)], check=True)
        assert ask(reachable.path, "chroot", "/" if options is None else str(root))[0] == told
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", str(root)], check=True)


def test_a_user_cannot_even_connect(served: Served) -> None:
    assert ask(served.path, *USER) == ["PermissionError"]


def test_one_that_is_gone_is_not_mistaken_for_another(tmp_path: Path) -> None:
    """It connected and ended, and its child still holds the connection."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        code = (
            "import os, socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "if os.fork(): os._exit(0)\n"
            "sys.stdin.read()"
        )
        parent = subprocess.Popen([PYTHON, "-S", "-c", code, path], stdin=subprocess.PIPE)
        stream, _ = listener.accept()
        parent.wait(30)
        with stream, parent:
            assert parent.stdin is not None
            with pytest.raises(Stranger, match="gone"):
                peer.judge(stream, peer.own_place(), Files(), {})


def test_strangers_are_counted(served: Served) -> None:
    ask(served.path, "unshare", "--net")
    eventually(lambda: served.told()["cold"] == {"other net namespace": 1})


def test_digests_are_kept_and_few(tmp_path: Path) -> None:
    files = Files()
    for number in range(600):
        path = tmp_path / str(number)
        path.write_text(str(number))
        assert len(files.digest(str(path))) == 64
    assert len(files._known) <= 256
