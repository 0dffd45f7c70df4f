"""The table of what can go wrong: each mutating system call of a run, and what becomes of the node if it is hurt.

A run is an apply, or the recovery of one that ended at a certain point. Each call dies (kill -9 at its entry), or
fails for want of space or by a broken disk. Always: each conflist's plugins are there at once; after the next run the
node is old or new as a whole, with its reload done, nothing is `incomplete` and nothing is left of the journal.

Here is a sample; `nox -s kills` hurts every call and prints the table.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass

import pytest

from cni_provision.node.protocol import Request
from tests.node.conftest import Ended, Node
from tests.node.kills import (
    COMMITTED,
    RECORD,
    RECOVER,
    TO_NEW,
    Call,
    Tree,
    calls_of,
    hurt,
    images,
    is_whole,
    restore,
    save,
    was_hit,
    which,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace not installed"),
]

KILL, FULL, BROKEN = "signal=KILL", "error=ENOSPC", "error=EIO"
NOT_A_DISKS = {"clone", "vfork", "flock"}
NEEDS_SPACE = {"openat", "write", "pwrite64", "mkdir", "rename", "fsync", "lsetxattr", "symlink", "ftruncate"}
# where an earlier run ended → how, and what the node shall be after its recovery
BROKEN_OFF = {
    "old": ((), ""),
    "staged": (("rename:signal=KILL:when=7",), "old"),
    "committed": (("mkdir:signal=KILL:when=7",), "new"),
    "half": (("rename:signal=KILL:when=11",), "new"),
    "reloaded": (("rename:signal=KILL:when=13",), "new"),
    "turned": (("unlink:error=EIO:when=7", "rename:signal=KILL:when=14"), "old"),
}
SAMPLED = {KILL: 9, FULL: 13, BROKEN: 17}


@dataclass(frozen=True)
class Table:
    """A node that is hurt again and again, and its two images."""

    node: Node
    old: Tree
    new: Tree

    def break_off(self, start: str) -> Request:
        """Leave and keep the remains of a run; what is asked then."""
        effects, _ = BROKEN_OFF[start]
        if effects:
            hurt(self.node, TO_NEW, *effects)
            assert was_hit(self.node), start
            save(self.node, start)
        return RECOVER if effects else TO_NEW

    def calls(self, start: str) -> list[Call]:
        asked = self.break_off(start)
        found = calls_of(self.node, asked)
        restore(self.node, start)
        return found

    def hit(self, start: str, call: Call, effect: str) -> Ended:
        """Hurt that very call; where the kernel was busy, others before it were begun anew and count twice."""
        asked = RECOVER if BROKEN_OFF[start][0] else TO_NEW
        for number in range(call.number, call.number + 6):
            restore(self.node, start)
            ended = hurt(self.node, asked, f"{call.name}:{effect}:when={number}")
            if was_hit(self.node) and call.arguments in self.node.path("/run/trace").read_text():
                return ended
        raise AssertionError(f"no run has {call.text} again")

    def suffer(self, start: str, call: Call, effect: str) -> str:
        """What the node is after the call was hurt and the next run has recovered: `old` or `new`."""
        where = f"{start}, {effect} at {call.number} {call.text}"
        ended = self.hit(start, call, effect)
        assert is_whole(self.node), where
        assert "Traceback" not in ended.stderr, where
        committed = self.node.path(COMMITTED).exists() or self.node.path(RECORD).exists()
        reply = self.node.ask(RECOVER).reply
        assert reply.error is None, where
        assert not reply.incomplete, where
        assert not self.node.shell("ls -A /var/lib/cni-provision/txn"), where
        became = which(self.node, self.old, self.new)
        assert became in ("old", "new"), f"{where}: {became}"
        if effect == KILL:
            assert became == (BROKEN_OFF[start][1] or ("new" if committed else "old")), where
        return became


@pytest.fixture
def table(node: Node) -> Table:
    return Table(node, *images(node))


def applies(effect: str, call: Call) -> bool:
    if effect == KILL:
        return True
    return call.name in NEEDS_SPACE if effect == FULL else call.name not in NOT_A_DISKS


def hurt_each(table: Table, start: str, effect: str, every: int) -> None:
    """Hurt every so-many-th call of a run, and print what came of it."""
    calls = [call for call in table.calls(start) if applies(effect, call)]
    became = Counter((call.name, table.suffer(start, call, effect)) for call in calls[len(start) % every :: every])
    for (name, state), count in sorted(became.items()):
        print(f"{start:10} {effect:13} {name:10} {state} {count:4}")
    assert became


@pytest.mark.parametrize("effect", [KILL, FULL, BROKEN])
def test_an_apply(table: Table, effect: str) -> None:
    hurt_each(table, "old", effect, SAMPLED[effect])


@pytest.mark.parametrize("start", [start for start in BROKEN_OFF if start != "old"])
def test_a_recovery_killed(table: Table, start: str) -> None:
    hurt_each(table, start, KILL, 2 * SAMPLED[KILL])


@pytest.mark.kills
@pytest.mark.parametrize("effect", [KILL, FULL, BROKEN])
@pytest.mark.parametrize("start", BROKEN_OFF)
def test_every_call(table: Table, start: str, effect: str) -> None:
    hurt_each(table, start, effect, 1)
