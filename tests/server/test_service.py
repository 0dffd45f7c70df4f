"""One request: answers, turns, delegates, and callers that die."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_provision.cni.skel import Call
from cni_provision.cni.types import CNIError
from cni_provision.server import wire
from tests.server.conftest import PATIENCE, Caller, Served, Toy, eventually

pytestmark = pytest.mark.root
Open = Callable[..., Served]


def test_answers_as_the_plugin_does(served: Served) -> None:
    outcome = served.call("ADD")
    assert outcome.code == 0
    assert json.loads(outcome.stdout) == {"cniVersion": "1.1.0"}
    assert served.toy.calls == ["ADD one"]


def test_a_mistake_in_a_plugin_is_that_requests_error_only(served: Served) -> None:
    def fall(call: object) -> None:
        raise SystemExit("down")

    served.toy.on["ADD"] = fall
    outcome = served.call("ADD")
    assert outcome.code == 1
    assert json.loads(outcome.stdout) == {"cniVersion": "1.1.0", "code": 999, "msg": "down"}
    assert served.call("STATUS").code == 0


def test_a_caller_that_dies_before_the_acknowledgement_is_undone(served: Served) -> None:
    caller = served.caller()
    caller.ask("ADD")
    caller.answer()
    caller.close()
    eventually(lambda: served.toy.calls == ["ADD one", "DEL one"])


def test_undo_is_given_what_the_add_answered(served: Served) -> None:
    seen: list[object] = []
    served.toy.on["DEL"] = lambda call: seen.append(call.prev_result)
    caller = served.caller()
    caller.ask("ADD")
    caller.answer()
    caller.close()
    eventually(lambda: seen and seen[0] is not None)


def test_a_caller_that_dies_while_the_plugin_works_is_undone(served: Served) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(call: object) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    served.toy.on["ADD"] = work
    caller = served.caller()
    caller.ask("ADD")
    assert begun.wait(PATIENCE)
    caller.close()
    go_on.set()
    eventually(lambda: served.toy.calls == ["ADD one", "DEL one"])


def test_a_del_is_never_undone(served: Served) -> None:
    caller = served.caller()
    caller.ask("DEL")
    caller.answer()
    caller.close()
    assert served.call("VERSION").code == 0
    eventually(lambda: len(served.door._guests) == 0)
    assert served.toy.calls == ["DEL one"]


def test_an_add_that_failed_has_nothing_to_undo(served: Served) -> None:
    def refuse(call: object) -> None:
        raise CNIError(100, "no")

    served.toy.on["ADD"] = refuse
    caller = served.caller()
    caller.ask("ADD")
    assert caller.answer().code == 1
    caller.close()
    eventually(lambda: len(served.door._guests) == 0)
    assert served.toy.calls == ["ADD one"]


def test_the_undo_comes_before_what_came_later(served: Served) -> None:
    """ADD is answered and its caller dies; the runtime's DEL and next ADD find nothing half undone."""
    first = served.caller()
    first.ask("ADD")
    first.answer()
    later = [served.caller(), served.caller()]
    for caller, command in zip(later, ("DEL", "ADD"), strict=True):
        caller.ask(command)
        eventually(lambda: waiting(served) >= 1)
    eventually(lambda: waiting(served) == 2)
    first.close()
    for caller in later:
        assert caller.answer().code == 0
        caller.acknowledge()
    assert served.toy.calls == ["ADD one", "DEL one", "DEL one", "ADD one"]


def waiting(served: Served) -> int:
    return sum(len(queue) - 1 for queue in served.door._service.turns._queues.values())


def test_other_attachments_do_not_wait(served: Served) -> None:
    first = served.caller()
    first.ask("ADD")
    first.answer()
    assert served.call("ADD", container_id="two").code == 0


def test_an_answer_that_nobody_reads_holds_up_nobody_for_long(served: Served) -> None:
    first = served.caller()
    first.ask("ADD")
    first.answer()
    assert served.call("DEL").code == 0
    first.close()
    assert served.call("ADD").code == 0
    assert served.toy.calls == ["ADD one", "DEL one", "ADD one"]


def test_a_caller_with_open_stdin_holds_no_worker(served: Served) -> None:
    silent = [served.caller() for _ in range(40)]
    assert served.call("ADD").code == 0
    for number, caller in enumerate(silent):
        caller.ask("ADD", container_id=f"c{number}")
    for caller in silent:
        assert caller.answer().code == 0
        caller.acknowledge()


def delegating(type_: str) -> Toy:
    def add(call: object) -> None:
        call.delegate(type_).add()  # type: ignore[attr-defined]

    def status(call: object) -> None:
        call.delegate(type_).status()  # type: ignore[attr-defined]

    return Toy(on={"ADD": add, "STATUS": status})


def executable(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes(name.encode())
    return file


def test_our_own_delegate_is_a_call(open_door: Open, tmp_path: Path) -> None:
    ipam = Toy("ipam")
    file = executable(tmp_path / "bin", "ipam")
    served = open_door(delegating("ipam"), {hashlib.sha256(file.read_bytes()).hexdigest(): ipam.plugin})
    assert served.call("ADD", path=str(file.parent)).code == 0
    assert ipam.calls == ["ADD one"]


def test_a_foreign_delegate_is_executed_by_the_caller(open_door: Open, tmp_path: Path) -> None:
    file = executable(tmp_path / "bin", "ipam")
    served = open_door(delegating("ipam"))
    caller = served.caller()
    caller.ask("ADD", path=str(file.parent))
    path, command, stdin = caller.connection.receive(wire.EXECUTE, PATIENCE).split(b"\0", 2)
    assert (path.decode(), command) == (str(file), b"ADD")
    assert json.loads(stdin)["name"] == "pods"
    answer_for_delegate(caller, 0, b'{"cniVersion": "1.1.0"}', b"warned\n")
    outcome = caller.answer()
    assert (outcome.code, outcome.stderr) == (0, "warned\n")


def answer_for_delegate(caller: Caller, code: int, stdout: bytes = b"", stderr: bytes = b"") -> None:
    head = code.to_bytes(4, "little", signed=True) + len(stdout).to_bytes(4, "little")
    caller.connection.send(wire.EXECUTED, head + stdout + stderr)


@pytest.mark.parametrize(
    ("code", "error", "msg"),
    [
        (256 + 13, 5, "cannot execute plugin `{path}`: Permission denied"),
        (-256, 999, "plugin `{path}` printed more than 16 MiB and was killed"),
        (-9, 999, "netplugin failed with no error message: killed by signal 9"),
    ],
)
def test_a_delegate_that_failed(open_door: Open, tmp_path: Path, code: int, error: int, msg: str) -> None:
    file = executable(tmp_path / "bin", "ipam")
    served = open_door(delegating("ipam"))
    caller = served.caller()
    caller.ask("ADD", path=str(file.parent))
    caller.connection.receive(wire.EXECUTE, PATIENCE)
    answer_for_delegate(caller, code)
    told = json.loads(caller.answer().stdout)
    assert (told["code"], told["msg"]) == (error, msg.format(path=file))


def test_a_caller_that_dies_with_its_delegate(open_door: Open, tmp_path: Path) -> None:
    file = executable(tmp_path / "bin", "ipam")
    served = open_door(delegating("ipam"))
    caller = served.caller()
    caller.ask("ADD", path=str(file.parent))
    caller.connection.receive(wire.EXECUTE, PATIENCE)
    caller.close()
    eventually(lambda: len(served.door._guests) == 0)
    assert served.toy.calls == ["ADD one"]


def test_delegates_that_call_us_never_lock_us_up(open_door: Open, tmp_path: Path) -> None:
    """Every place taken by callers that wait for a delegate, and each delegate is a caller itself."""
    file = executable(tmp_path / "bin", "ipam")
    served = open_door(delegating("ipam"))
    callers = [served.caller() for _ in range(40)]
    for number, caller in enumerate(callers):
        caller.ask("ADD", path=str(file.parent), container_id=f"c{number}")
    for caller in callers:
        caller.connection.receive(wire.EXECUTE, PATIENCE)
    assert served.call("DEL").code == 0
    for caller in callers:
        answer_for_delegate(caller, 0, b'{"cniVersion": "1.1.0"}')
        assert caller.answer().code == 0
        caller.acknowledge()


def test_a_plugin_that_waits_for_long_holds_up_nobody(served: Served) -> None:
    come = threading.Event()

    def wait(call: Call) -> None:
        with call.away():
            assert come.wait(PATIENCE)

    served.toy.on["ADD"] = wait
    callers = [served.caller() for _ in range(40)]
    for number, caller in enumerate(callers):
        caller.ask("ADD", container_id=f"c{number}")
    eventually(lambda: len(served.toy.calls) == 40)
    assert served.call("STATUS").code == 0
    come.set()
    for caller in callers:
        assert caller.answer().code == 0
        caller.acknowledge()


def test_relative_folders_of_plugins_are_the_callers(
    open_door: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = executable(tmp_path / "bin", "ipam")
    ipam = Toy("ipam")
    served = open_door(delegating("ipam"), {hashlib.sha256(file.read_bytes()).hexdigest(): ipam.plugin})
    monkeypatch.chdir(tmp_path)
    assert served.call("ADD", path="bin").code == 0


def test_no_delegate(open_door: Open) -> None:
    served = open_door(delegating("ipam"))
    told = json.loads(served.call("ADD", path="/nowhere:/elsewhere").stdout)
    assert told["msg"] == 'failed to find plugin "ipam" in path [/nowhere /elsewhere]'
