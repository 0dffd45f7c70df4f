from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cni_provision.net import netns


def where() -> str:
    return os.readlink(netns.OWN)


@pytest.mark.root
def test_inside_and_back(netns_fd: int) -> None:
    own = where()
    with netns.inside(netns_fd):
        assert where() != own
    assert where() == own


@pytest.mark.root
def test_back_also_after_an_error(netns_fd: int) -> None:
    own = where()
    with pytest.raises(RuntimeError), netns.inside(netns_fd):
        raise RuntimeError
    assert where() == own


def test_none_is_here() -> None:
    own = where()
    with netns.inside(None):
        assert where() == own


@pytest.mark.root
def test_no_descriptor_leaks(netns_fd: int) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with netns.inside(netns_fd):
            pass
    assert os.listdir("/proc/self/fd") == before


def test_a_descriptor_of_something_else_is_refused(tmp_path: Path) -> None:
    own = where()
    with open(tmp_path / "file", "w") as file, pytest.raises(OSError), netns.inside(file.fileno()):
        pytest.fail("that was no namespace")
    assert where() == own


@pytest.mark.root
def test_who_cannot_come_back_ends(netns_fd: int) -> None:
    """The namespace to return to is closed under its feet: the process must not go on in the wrong one."""
    code = f"""
import os
from cni_provision.net import netns
with netns.inside({netns_fd}):
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try: os.close(int(name))
            except OSError: pass
print("still alive")
"""
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[netns_fd], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("cannot leave a network namespace: ")


def test_paths_of_namespaces() -> None:
    fd = netns.open_path("/proc/self/ns/net")
    try:
        assert netns.is_netns(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", ["/proc/self/ns/mnt", "/dev/null", "/etc/hostname", "/"])
def test_paths_of_other_things(path: str) -> None:
    with pytest.raises(OSError, match="not a network namespace"):
        netns.open_path(path)


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        netns.open_path(str(tmp_path / "absent"))


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a network namespace"):
        netns.open_path(str(tmp_path / "fifo"))
