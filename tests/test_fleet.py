"""Many nodes at once, over nodes in memory; real SSH is in tests/lab/test_fleet_over_ssh.py."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from cni_provision import events, fleet
from cni_provision.errors import (
    Conflict,
    NodeFailed,
    NotStarted,
    TimedOut,
    Unreachable,
    UserError,
)
from cni_provision.fleet import Job, Options, Outcome, Portion, Program
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import Request
from cni_provision.plan import File
from cni_provision.transport.base import Settings
from cni_provision.transport.memory import MemoryNode, Transport

DESIRED = {"file:/a": File("/a", "ab" * 32)}
CONFLICT = {"reason": "conflict", "message": "it moved", "hint": None}


class Anything:
    def compressed(self, digest: str) -> bytes:
        return b"data"


class Fleet:
    """Nodes in memory, and what a run with them left: outcomes, events, and the transport's counters."""

    def __init__(self, *nodes: MemoryNode) -> None:
        self.nodes = {f"n{i}": node for i, node in enumerate(nodes)}
        self.transport = Transport(Settings(), self.nodes)
        self.events: list[events.Event] = []
        self.seconds = 0.0

    def jobs(self, verb: str) -> list[Job]:
        connections = {name: Connection("memory", name) for name in self.nodes}
        named = (Node(name, (), connection, Declarations()) for name, connection in connections.items())
        return [Job(node, Request(verb, desired=DESIRED), Anything()) for node in named]

    def run(self, verb: str = "apply", **options: object) -> tuple[Outcome, ...]:
        chosen = Options(transports={"memory": self.transport}, program=Program(source=b""), **options)
        began = time.monotonic()
        try:
            return asyncio.run(fleet.run(self.jobs(verb), chosen, self.events.append))
        finally:
            self.seconds = time.monotonic() - began

    @property
    def changed(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.generation]


def summary(outcomes: tuple[Outcome, ...]) -> list[str]:
    return [type(outcome.error).__name__ if outcome.error else "ok" for outcome in outcomes]


def test_outcomes_are_in_the_order_of_the_jobs() -> None:
    nodes = Fleet(*(MemoryNode(delay=0.03 - i / 200) for i in range(5)))
    outcomes = nodes.run()
    assert [outcome.node.name for outcome in outcomes] == ["n0", "n1", "n2", "n3", "n4"]
    assert summary(outcomes) == ["ok"] * 5
    done = [event.node for event in nodes.events if isinstance(event, events.ApplyDone)]
    assert done == ["n4", "n3", "n2", "n1", "n0"]


def test_one_node_of_each_kind_of_trouble() -> None:
    good = [MemoryNode() for _ in range(96)]
    bad = [MemoryNode(unreachable="No route to host"), MemoryNode(error=CONFLICT), MemoryNode(silent=True)]
    nodes = Fleet(*good, *bad, MemoryNode(noise=b"Welcome \0CNIP!"))
    outcomes = nodes.run(deadline=0.5)
    assert [type(outcome.error) for outcome in outcomes[96:]] == [Unreachable, Conflict, TimedOut, type(None)]
    assert [outcome.error.node for outcome in outcomes[96:99] if outcome.error] == ["n96", "n97", "n98"]
    assert len(nodes.changed) == 97
    failed = {event.node: event.reason for event in nodes.events if isinstance(event, events.NodeFailed)}
    assert failed == {"n96": "unreachable", "n97": "conflict", "n98": "timed out"}


def test_a_dead_node_costs_its_own_time_only() -> None:
    nodes = Fleet(MemoryNode(unreachable="timed out", delay=0.5), *(MemoryNode(delay=0.01) for _ in range(50)))
    nodes.run(forks=4)
    good = [event for event in nodes.events if isinstance(event, events.ApplyDone)]
    assert len(good) == 50
    assert nodes.seconds < 0.9
    assert isinstance(nodes.events[-1], events.NodeFailed)


def test_forks_bound_the_sessions() -> None:
    nodes = Fleet(*(MemoryNode(delay=0.01) for _ in range(20)))
    nodes.run(forks=3)
    assert nodes.transport.most == 3


def test_a_jump_host_is_spared_and_holds_up_nobody_else() -> None:
    behind = [MemoryNode(hop="bastion", delay=0.05) for _ in range(12)]
    nodes = Fleet(*behind, *(MemoryNode() for _ in range(12)))
    nodes.run(forks=10, jump_limit=2)
    order = [event.node for event in nodes.events if isinstance(event, events.ApplyDone)]
    assert set(order[:12]) == {f"n{i}" for i in range(12, 24)}
    assert nodes.seconds > 12 / 2 * 0.05


def test_ten_thousand_nodes() -> None:
    nodes = Fleet(*(MemoryNode(unreachable="gone" if i % 100 == 0 else None) for i in range(10_000)))
    outcomes = nodes.run()
    assert sum(outcome.failed for outcome in outcomes) == 100
    assert len(nodes.changed) == 9_900
    assert nodes.seconds < 30


class TestSerial:
    def test_a_batch_waits_for_the_one_before(self) -> None:
        nodes = Fleet(*(MemoryNode(delay=0.02 - i / 500) for i in range(6)))
        nodes.run(serial=Portion(2))
        order = [event.node for event in nodes.events if isinstance(event, events.ApplyDone)]
        assert [set(order[i : i + 2]) for i in (0, 2, 4)] == [{"n0", "n1"}, {"n2", "n3"}, {"n4", "n5"}]

    def test_a_percentage(self) -> None:
        nodes = Fleet(*(MemoryNode(delay=0.005) for _ in range(8)))
        nodes.run(serial=Portion.parse("25%"))
        assert nodes.transport.most == 2

    def test_a_small_percentage_is_one_node(self) -> None:
        nodes = Fleet(*(MemoryNode() for _ in range(8)))
        nodes.run(serial=Portion.parse("1%"))
        assert nodes.transport.most == 1

    def test_a_batch_that_failed_entirely_ends_the_run(self) -> None:
        nodes = Fleet(MemoryNode(), MemoryNode(error=CONFLICT), MemoryNode())
        assert summary(nodes.run(serial=Portion(1))) == ["ok", "Conflict", "NotStarted"]
        assert nodes.nodes["n2"].served == 0

    def test_unless_failures_are_allowed(self) -> None:
        nodes = Fleet(MemoryNode(), MemoryNode(error=CONFLICT), MemoryNode())
        assert summary(nodes.run(serial=Portion(1), max_fail=Portion(1))) == ["ok", "Conflict", "ok"]


class TestMaxFail:
    def test_no_further_node_is_started(self) -> None:
        nodes = Fleet(*(MemoryNode(error=CONFLICT, delay=0.001) for _ in range(30)))
        outcomes = nodes.run(forks=1, max_fail=Portion(2))
        assert summary(outcomes) == ["Conflict"] * 3 + ["NotStarted"] * 27

    def test_zero_allows_none(self) -> None:
        nodes = Fleet(MemoryNode(unreachable="gone"), MemoryNode())
        assert summary(nodes.run(forks=1, max_fail=Portion(0))) == ["Unreachable", "NotStarted"]

    def test_nodes_under_way_are_finished(self) -> None:
        nodes = Fleet(MemoryNode(error=CONFLICT), *(MemoryNode(delay=0.1) for _ in range(3)), MemoryNode())
        outcomes = nodes.run(forks=4, max_fail=Portion(0))
        assert summary(outcomes) == ["Conflict", "ok", "ok", "ok", "NotStarted"]

    def test_a_percentage_of_the_fleet(self) -> None:
        nodes = Fleet(*(MemoryNode(error=CONFLICT) for _ in range(20)))
        assert summary(nodes.run(forks=1, max_fail=Portion.parse("10%"))).count("Conflict") == 3

    def test_nodes_that_were_not_started_are_told(self) -> None:
        nodes = Fleet(MemoryNode(error=CONFLICT), MemoryNode())
        nodes.run(forks=1, max_fail=Portion(0))
        last = nodes.events[-1]
        assert last == events.NodeFailed("n1", "not started", "not started: too many nodes failed")


class TestPortion:
    @pytest.mark.parametrize(("text", "of_ten"), [("3", 3), ("25%", 2), ("0", 0), (" 100% ", 10)])
    def test_is_a_number_or_a_percentage(self, text: str, of_ten: int) -> None:
        assert Portion.parse(text).of(10) == of_ten

    @pytest.mark.parametrize("text", ["", "-1", "101%", "some", "1.5", "%"])
    def test_anything_else_is_the_users_mistake(self, text: str) -> None:
        with pytest.raises(UserError, match="neither a number of nodes nor a percentage"):
            Portion.parse(text)


class TestForks:
    @pytest.mark.parametrize(
        ("wanted", "open_files", "at_once"), [(200, 1024, 200), (400, 1024, 320), (5, 64, 1), (1, 1024, 1)]
    )
    def test_are_bounded_by_open_files(self, wanted: int, open_files: int, at_once: int) -> None:
        assert fleet.forks_within(wanted, open_files) == at_once

    def test_default_follows_the_cores(self) -> None:
        assert 8 <= fleet.forks_within(None, 1024) <= 64


def test_a_connection_of_unknown_kind_is_the_users_mistake() -> None:
    node = Node("a", (), Connection("winrm", "a"), Declarations())
    with pytest.raises(UserError, match="no connection of kind `winrm`"):
        asyncio.run(fleet.run([Job(node, Request("plan"))], Options(program=Program(source=b"")), lambda event: None))


def test_no_nodes() -> None:
    assert Fleet().run() == ()


def test_runs_outside_of_the_main_thread() -> None:
    nodes = Fleet(MemoryNode())
    thread = threading.Thread(target=nodes.run)
    thread.start()
    thread.join()
    assert nodes.changed == ["n0"]


SCRIPT = """
    import asyncio, sys
    from cni_provision import errors, fleet
    from tests.test_fleet import Fleet, MemoryNode, Options, Program, summary
    nodes = Fleet(*(MemoryNode(delay={delay}, blobs={{'ab' * 32}}) for _ in range(6)))
    def tell(event):
        print(event.name, getattr(event, "node", ""), flush=True)
    options = Options(transports={{"memory": nodes.transport}}, program=Program(source=b""), forks=2)
    try:
        asyncio.run(fleet.run(nodes.jobs("apply"), options, tell))
    except errors.Interrupted as error:
        print("ended", error.exit_code, nodes.changed, *summary(error.outcomes), flush=True)
        sys.exit(error.exit_code)
"""


class Interrupted:
    """A run in a process of its own that gets signals once its first nodes are under way."""

    def __init__(self, *numbers: int, delay: float = 0.5) -> None:
        code = textwrap.dedent(SCRIPT).format(delay=delay)
        root = Path(__file__).parent.parent
        began = time.monotonic()
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as process:
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line.strip())
                if said[-1] == "apply_start n1":
                    began = time.monotonic()
                    for number in numbers:
                        time.sleep(0.1)
                        process.send_signal(number)
        self.seconds = time.monotonic() - began
        self.code, self.last = process.returncode, said[-1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_what_is_under_way_and_starts_nothing_more(number: int, code: int) -> None:
    run = Interrupted(number)
    assert run.code == code
    # both had been asked, so they are waited for; the other four were not touched
    assert run.last == f"ended {code} ['n0', 'n1'] ok ok NotStarted NotStarted NotStarted NotStarted"


def test_a_node_that_has_not_everything_yet_gets_nothing_more() -> None:
    """The memory node asks for a blob after `delay`; by then the run is to stop."""

    async def interrupted() -> tuple[Outcome, ...]:
        nodes = Fleet(MemoryNode(delay=0.2))
        options = Options(transports={"memory": nodes.transport}, program=Program(source=b""))
        asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGINT)
        with pytest.raises(fleet.RunInterrupted) as caught:
            await fleet.run(nodes.jobs("apply"), options, nodes.events.append)
        assert not nodes.changed
        return caught.value.outcomes

    (outcome,) = asyncio.run(interrupted())
    assert isinstance(outcome.error, NotStarted)
    assert "nothing was changed" in outcome.error.message


def test_a_second_signal_waits_for_nobody() -> None:
    run = Interrupted(signal.SIGINT, signal.SIGINT, delay=30)
    assert run.code == 130
    assert run.seconds < 5
    assert run.last.split()[2:] == ["[]", "NodeFailed", "NodeFailed", *["NotStarted"] * 4]


def test_a_question_is_broken_off_at_once() -> None:
    async def interrupted() -> tuple[Outcome, ...]:
        nodes = Fleet(*(MemoryNode(delay=30) for _ in range(3)))
        options = Options(transports={"memory": nodes.transport}, program=Program(source=b""))
        asyncio.get_running_loop().call_later(0.1, signal.raise_signal, signal.SIGTERM)
        with pytest.raises(fleet.RunInterrupted) as caught:
            await fleet.run(nodes.jobs("plan"), options, nodes.events.append)
        assert caught.value.exit_code == 143
        return caught.value.outcomes

    began = time.monotonic()
    assert summary(asyncio.run(interrupted())) == ["NotStarted"] * 3
    assert time.monotonic() - began < 5


def test_failed_counts_errors_and_undone_changes() -> None:
    node = Node("a", (), Connection(), Declarations())
    assert Outcome(node, error=NodeFailed("x")).failed
    assert not Outcome(node, error=NotStarted("x")).failed
