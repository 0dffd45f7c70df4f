"""What an outcome means to those who watch."""

from __future__ import annotations

from cni_provision import events
from cni_provision.errors import Conflict, Unreachable
from cni_provision.fleet_events import described, told
from cni_provision.fleet_job import Job, Outcome
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import CheckOutcome, NodeFinding, Reply, Request
from cni_provision.plan import DIRECTORY, Change, File, Live

NODE = Node("one", (), Connection(), Declarations())
OLD = File("/etc/x", "ab" * 32)
NEW = File("/etc/x", "cd" * 32, mode=0o600, uid=1, gid=2, kind="conflist")
CHANGE = Change("file:/etc/x", OLD, NEW)


def of(request: Request, reply: Reply) -> tuple[events.Event, ...]:
    return told(Job(NODE, request), Outcome(NODE, reply, seconds=1.23456))


def test_a_plan() -> None:
    reply = Reply(changes=(CHANGE,), diffs={"file:/etc/x": "-a\n+b\n"}, generation=4)
    assert of(Request("plan"), reply) == (
        events.Observed("one", 4, 1.235),
        events.PlannedChange(
            "one",
            "/etc/x",
            "~",
            "conflist",
            before="0644 sha256:abababababab",
            after="0600 1:2 sha256:cdcdcdcdcdcd",
            diff="-a\n+b\n",
        ),
    )


def test_what_stands_where_a_file_shall_be() -> None:
    assert described(File("/etc/x", "symbolic link", mode=0o777)) == "0777 symbolic link"


def test_a_secret_file_shows_no_digest() -> None:
    for secret in ("/etc/x", "file:/etc/x"):
        _, planned = of(Request("plan", secret=(secret,)), Reply(changes=(CHANGE,)))
        assert isinstance(planned, events.PlannedChange)
        assert (planned.before, planned.after) == (None, None)


def test_an_apply() -> None:
    reply = Reply(
        changes=(CHANGE,),
        findings=(NodeFinding("noexec", "`/opt` is noexec", "remount"),),
        outcomes=(CheckOutcome("ping", "pass", network="pods"),),
        generation=5,
        applied=True,
    )
    assert of(Request("apply"), reply) == (
        events.ChangeApplied("one", "/etc/x", "~"),
        events.Finding("one", "noexec", "`/opt` is noexec", "remount"),
        events.CheckResult("one", "ping", "pass", None, "pods"),
        events.ApplyDone("one", 5, 1, 1.235),
    )


def test_an_apply_that_was_undone() -> None:
    *_, done = of(Request("apply"), Reply(changes=(CHANGE,), generation=5, rolled_back=True))
    assert done == events.ApplyDone("one", 5, 0, 1.235, rolled_back=True)


def test_failures() -> None:
    job = Job(NODE, Request("apply"))
    for error, reason in ((Unreachable("gone", hint="h"), "unreachable"), (Conflict("moved", hint="h"), "conflict")):
        told_of = told(job, Outcome(NODE, error=error, seconds=2.0))
        assert told_of == (events.NodeFailed("one", reason, error.message, "h", 2.0),)


def test_states_in_words() -> None:
    assert described(None) is None
    assert described(Live("sysctl", "net.ipv4.ip_forward", "1")) == "1"
    assert described(File("/etc/cni", DIRECTORY, mode=0o755)) == "0755 directory"
