"""What a run promises beside the table of `test_kills`: a disk that is really full, a stranger who writes between."""

from __future__ import annotations

import os
import shutil

import pytest

from cni_provision.node.protocol import Request
from tests.node.conftest import Node, request
from tests.node.kills import NEW, OLD, RECOVER, TO_NEW, TO_OLD, die_half_way, hurt, images, which

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace not installed"),
]


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


# what recovery is doing → how the run ended before it, and before a stranger wrote
ENDED = {
    "finishing": ("rename:signal=KILL:when=8",),
    "undoing": ("unlink:error=EIO:when=7", "rename:signal=KILL:when=14"),
}


@pytest.mark.parametrize("direction", ENDED)
def test_what_a_stranger_wrote_between_is_left_and_told(node: Node, direction: str) -> None:
    images(node)
    hurt(node, TO_NEW, *ENDED[direction])
    node.write("/opt/cni/bin/bridge", b"a stranger's", mode=0o755)
    reply = node.ask(RECOVER).reply
    assert [each.code for each in reply.findings] == ["recovered", "left"]
    assert reply.findings[1].message == "`/opt/cni/bin/bridge` was changed by somebody else meanwhile and was left"
    assert node.path("/opt/cni/bin/bridge").read_bytes() == b"a stranger's"
    told = node.ask(Request("status")).reply
    assert told.incomplete
    assert not node.shell("ls -A /var/lib/cni-provision/txn")
    asked, what, text = (TO_NEW, NEW, b"bridge 2") if direction == "finishing" else (TO_OLD, OLD, b"bridge 1")
    assert node.ask(asked, what.contents).reply.applied
    assert not node.ask(Request("status")).reply.incomplete
    assert node.path("/opt/cni/bin/bridge").read_bytes() == text


def test_what_cannot_be_finished_is_undone_and_told(node: Node) -> None:
    old, new = images(node)
    die_half_way(node)
    reply = hurt(node, RECOVER, "rename:error=EIO:when=1").reply
    assert reply.error is None
    assert [each.code for each in reply.findings] == ["recovered"]
    said = reply.findings[0].message
    assert "Input/output error" in said
    assert said.endswith("an interrupted run was undone, because it could not be finished")
    assert which(node, old, new) == "old"
