"""A run that dies or fails at any system call leaves the old node or the new one, at the latest after the next."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator

import pytest

from tests.node.conftest import Ended, Node, request
from tests.node.kills import (
    COMMITTED,
    NEW,
    OLD,
    RECORD,
    RECOVER,
    TO_NEW,
    TO_OLD,
    die_half_way,
    hurt,
    images,
    is_old_or_new,
    is_whole,
    reset,
    was_hit,
)

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
