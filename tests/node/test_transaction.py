"""A run that dies or fails at any system call leaves the old node or the new one, at the latest after the next."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping

import pytest

from cni_provision.node.protocol import Reload, Request
from cni_provision.plan import Live
from tests.node.conftest import Bytes, Ended, Node, request

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace not installed"),
]

# strace counts each system call by itself
KILLED = (
    ("rename", 1),
    ("unlink", 1),
    ("mkdir", 1),
    ("rmdir", 1),
    ("fsync", 3),
    ("write", 2),
    ("fchmod", 2),
    ("ftruncate", 1),
)
FAILING = (
    ("write", "ENOSPC", 2),
    ("mkdir", "ENOSPC", 2),
    ("rename", "ENOSPC", 2),
    ("fsync", "EIO", 4),
    ("unlink", "EIO", 3),
)
COMMITTED = "/var/lib/cni-provision/txn/2.json"
RECORD = "/var/lib/cni-provision/generations/2.json"

CONF_DIR = "/etc/cni/net.d/"
LOADED = (".conf", ".conflist", ".json")
FOLDERS = "/etc/cni /opt/cni /etc/sysctl.d /var/lib/cni-provision"
FORWARDING = "net.ipv4.ip_forward"

OLD = (
    Bytes()
    .plugin("bridge", b"bridge 1")
    .plugin("vlan", b"vlan 1")
    .conflist("10-pods.conflist", b'{"plugins": "bridge vlan"}')
    .file("/opt/cni/old/folder/file", b"going")
)
NEW = (
    Bytes()
    .plugin("bridge", b"bridge 2")
    .plugin("ptp", b"ptp 2")
    .conflist("20-pods.conflist", b'{"plugins": "bridge ptp"}')
    .file("/etc/sysctl.d/90-cni.conf", b"net.ipv4.ip_forward = 1\n")
    .file("/opt/cni/new/folder/file", b"deep")
    .live(Live("sysctl", FORWARDING, "1"))
)
NOTE = Reload("note", ("sh", "-c", "echo done > /run/noted"), ("/etc/sysctl.d/90-cni.conf",))
TO_OLD = request(OLD)
TO_NEW = request(NEW, reloads=(NOTE,))
RECOVER = request(Bytes(), only=("verify",))
Tree = Mapping[str, tuple[int, bytes]]


def images(node: Node) -> tuple[Tree, Tree]:
    """The node before and after the run that will be hurt; it is left in the first."""
    node.shell(f"sysctl -qw {FORWARDING}=0")
    node.ask(TO_OLD, OLD.contents)
    node.shell(f"mkdir /run/saved && cp -a --parents {FOLDERS} /run/saved")
    old = node.tree()
    node.ask(TO_NEW, NEW.contents)
    new = node.tree()
    reset(node)
    assert node.tree() == old != new
    return old, new


def reset(node: Node) -> None:
    """Back to the old state; blobs of the new one are not there, so that they must come again."""
    node.shell(
        f"for folder in {FOLDERS}; do find $folder -mindepth 1 -delete; done; rm -f /run/noted;"
        f"cp -a /run/saved/* / && sysctl -qw {FORWARDING}=0"
    )


def is_whole(node: Node) -> bool:
    """Each conflist's plugins exist, and a runtime would load nothing else."""
    tree = node.tree()
    loaded = {path: text for path, (_, text) in tree.items() if path.startswith(CONF_DIR) and path.endswith(LOADED)}
    named = {name for text in loaded.values() for name in text.decode().split('"')[3].split()}
    known = {f"{CONF_DIR}10-pods.conflist", f"{CONF_DIR}20-pods.conflist"}
    return set(loaded) <= known and all(f"/opt/cni/bin/{name}" in tree for name in named)


def is_old_or_new(node: Node, old: Tree, new: Tree) -> bool:
    """Files, the live value and the reload agree with each other."""
    forwarding, tree = node.shell(f"sysctl -n {FORWARDING}").strip(), node.tree()
    is_new = tree == new and forwarding == "1" and node.path("/run/noted").exists()
    return is_new or (tree == old and forwarding == "0")


def hurt(node: Node, asked: Request, call: str, effect: str, number: int) -> Ended:
    """Ask, with the `number`-th `call` hurt."""
    trace = [
        "strace",
        "-qq",
        "-o",
        "/run/trace",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:{effect}:when={number}",
    ]
    return node.ask(asked, NEW.contents, trace=trace)


def was_hit(node: Node) -> bool:
    text = node.path("/run/trace").read_text()
    return "(INJECTED)" in text or "killed by SIGKILL" in text


def each_call(node: Node, call: str, effect: str, step: int) -> Iterator[tuple[int, Ended]]:
    """Hurt every `step`-th `call` of an apply, one a run, until a run has no more of them."""
    for number in itertools.count(1, step):
        ended = hurt(node, TO_NEW, call, effect, number)
        if not was_hit(node):
            assert number > 1, f"an apply has no {call}"
            return
        yield number, ended
        reset(node)


@pytest.mark.parametrize(("call", "step"), KILLED)
def test_killed_at_any_call(node: Node, call: str, step: int) -> None:
    old, new = images(node)
    for number, _ in each_call(node, call, "signal=KILL", step):
        committed = node.path(COMMITTED).exists() or node.path(RECORD).exists()
        assert is_whole(node), number
        reply = node.ask(RECOVER).reply
        assert reply.error is None, number
        assert is_old_or_new(node, old, new), number
        assert (node.tree() == new) == committed, number
        assert not reply.incomplete
        assert not node.shell("ls -A /var/lib/cni-provision/txn"), number


@pytest.mark.parametrize(("call", "error", "step"), FAILING)
def test_a_call_that_fails(node: Node, call: str, error: str, step: int) -> None:
    old, new = images(node)
    for number, ended in each_call(node, call, f"error={error}", step):
        assert is_whole(node), number
        assert "Traceback" not in ended.stderr, number
        assert node.ask(RECOVER).reply.error is None, number
        assert is_old_or_new(node, old, new), (number, ended)


@pytest.mark.parametrize("folder", ["/opt/cni", "/var/lib"])
def test_a_disk_that_is_really_full(node: Node, folder: str) -> None:
    node.ask(TO_OLD, OLD.contents)
    before = node.tree()
    node.shell(f"fallocate -l 7M {folder}/ballast; echo x > {folder}/more; mount -o remount,size=7200k {folder}")
    big = NEW.plugin("tuning", os.urandom(2_000_000))
    error = node.ask(request(big), big.contents).reply.error
    assert error
    assert "No space left on device" in error["message"]
    assert f"`{folder}/" in error["message"]
    assert error["hint"] == "free space on that file system, then apply again"
    node.shell(f"rm {folder}/ballast {folder}/more; mount -o remount,size=64m {folder}")
    assert node.tree() == before
    assert not node.shell("ls -A /var/lib/cni-provision/txn")
    assert node.ask(request(big), big.contents).reply.applied


def test_killed_during_recovery(node: Node) -> None:
    old, new = images(node)
    for number in itertools.count(1):
        die_half_way(node)
        hurt(node, RECOVER, "rename", "signal=KILL", number)
        hit = was_hit(node)
        assert is_whole(node), number
        assert node.ask(RECOVER).reply.error is None
        assert is_old_or_new(node, old, new), number
        if not hit:
            break
        reset(node)
    assert number > 5


def die_half_way(node: Node) -> None:
    """Leave an apply behind that was killed between its commit point and its end."""
    for number in itertools.count(8):
        hurt(node, TO_NEW, "rename", "signal=KILL", number)
        if node.path(COMMITTED).exists():
            return
        reset(node)
