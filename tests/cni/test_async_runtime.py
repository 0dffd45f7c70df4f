"""AsyncRuntime: the operations of Runtime on an event loop that goes on meanwhile; cancelling ends everything."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import config
from cni_provision.cni.async_runtime import AsyncRuntime
from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.operations import Execution
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.protocol import Attachment
from cni_provision.cni.runtime import Runtime
from cni_provision.cni.types import CNIError

Script = Callable[[str, str], Path]
pytestmark = pytest.mark.usefixtures("no_new_descriptors")

ANSWER = """echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}'"""
NETWORK = config.load(b'{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"first"},{"type":"second"}]}')
C1 = Attachment("c1", "/ns")


class Node:
    """Scripts, an asynchronous and a synchronous runtime over them, and what was asked."""

    def __init__(self, folder: Path, script: Script) -> None:
        self.calls: list[Execution] = []
        self.folder = folder
        self.script = script
        path, cache = [str(folder / "bin")], str(folder / "cache")
        self.runtime = AsyncRuntime(path, cache, timeout=10, trace=self.calls.append)
        self.blocking = Runtime(path, cache, timeout=10, trace=self.calls.append)
        for name in ("first", "second"):
            script(name, ANSWER)

    @property
    def asked(self) -> list[str]:
        return [f"{call.command} {call.plugin}" for call in self.calls]


@pytest.fixture
def node(tmp_path: Path, script: Script) -> Node:
    return Node(tmp_path, script)


def test_every_verb_does_what_the_other_runtime_does(node: Node) -> None:
    speaks = """echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}'"""
    body = f'if [ "$CNI_COMMAND" = VERSION ]; then {speaks}; else {ANSWER}; fi'
    for name in ("first", "second"):
        node.script(name, body)

    async def every(runtime: AsyncRuntime) -> list[object]:
        return [
            await runtime.validate(NETWORK),
            await runtime.add(NETWORK, C1),
            await runtime.check(NETWORK, C1),
            await runtime.attachments("c1"),
            await runtime.cached("n", C1.key),
            await runtime.status(NETWORK),
            await runtime.delete(NETWORK, C1),
            await runtime.gc(NETWORK, []),
            await runtime.version("first"),
        ]

    def each(runtime: Runtime) -> list[object]:
        return [
            runtime.validate(NETWORK),
            runtime.add(NETWORK, C1),
            runtime.check(NETWORK, C1),
            runtime.attachments("c1"),
            runtime.cached("n", C1.key),
            runtime.status(NETWORK),
            runtime.delete(NETWORK, C1),
            runtime.gc(NETWORK, []),
            runtime.version("first"),
        ]

    answers, half = asyncio.run(every(node.runtime)), len(node.calls)
    assert each(node.blocking) == answers
    assert node.asked[:half] == node.asked[half:]
    assert [call.stdin for call in node.calls[:half]] == [call.stdin for call in node.calls[half:]]


def test_the_two_runtimes_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Runtime) == public(AsyncRuntime)


def test_an_error_is_the_plugins(node: Node) -> None:
    node.script("second", """echo '{"code":101,"msg":"no cable"}'; exit 1""")
    with pytest.raises(CNIError, match=r'plugin type="second" name="n" failed \(add\): no cable') as caught:
        asyncio.run(node.runtime.add(NETWORK, C1, undo=True))
    assert caught.value.code == 101
    assert node.asked == ["ADD first", "ADD second", "DEL second", "DEL first"]


def test_the_loop_goes_on_while_plugins_run(node: Node) -> None:
    node.script("first", f"sleep 0.5; {ANSWER}")

    async def longest_gap() -> float:
        adding = asyncio.ensure_future(node.runtime.add(NETWORK, C1))
        longest, last = 0.0, time.monotonic()
        while not adding.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        await adding
        return longest

    assert asyncio.run(longest_gap()) < 0.3


def test_the_loop_goes_on_while_a_lock_is_waited_for(node: Node) -> None:
    node.script("first", f"sleep 0.5; {ANSWER}")
    other = threading.Thread(target=node.blocking.add, args=(NETWORK, C1))

    async def ticks() -> int:
        waiting = asyncio.ensure_future(node.runtime.check(NETWORK, C1))
        count = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            count += 1
        await waiting
        return count

    other.start()
    while not (node.folder / "cache" / "cni-provision").exists():
        time.sleep(0.01)
    assert asyncio.run(ticks()) > 20
    other.join()
    assert node.asked == ["ADD first", "ADD second", "CHECK first", "CHECK second"]


def test_a_time_out_ends_the_plugin(node: Node, left_running: Callable[[], list[int]]) -> None:
    node.script("first", f"echo $$ > {node.folder}/p.pid; exec sleep 300")
    runtime = AsyncRuntime([str(node.folder / "bin")], str(node.folder / "cache"), timeout=0.3)
    with pytest.raises(CNIError, match=r"did not finish within 0\.3 s and was killed"):
        asyncio.run(runtime.add(NETWORK, C1))
    assert left_running() == []


HANGS = 'echo $$ > {0}/p.pid; setsid sh -c "echo \\$\\$ > {0}/c.pid; sleep 300" & wait'


def cancelled(node: Node, call: Callable[[], Awaitable[object]]) -> None:
    """Cancel a call once its plugin, which hangs, has written down its children."""

    async def run() -> None:
        task = asyncio.ensure_future(call())
        while not (node.folder / "c.pid").exists() or not (node.folder / "c.pid").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [name for name in os.listdir(node.folder / "cache" / "cni-provision") if locked(node, name)]

    asyncio.run(run())


def locked(node: Node, name: str) -> bool:
    import fcntl

    descriptor = os.open(node.folder / "cache" / "cni-provision" / name, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("verb", ["add", "delete", "status", "gc", "version"])
def test_cancelling_ends_the_child_and_its_children(
    node: Node, left_running: Callable[[], list[int]], verb: str
) -> None:
    for name in ("first", "second"):
        node.script(name, HANGS.format(node.folder))
    calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "add": lambda: node.runtime.add(NETWORK, C1),
        "delete": lambda: node.runtime.delete(NETWORK, C1, continue_on_error=True),
        "status": lambda: node.runtime.status(NETWORK),
        "gc": lambda: node.runtime.gc(NETWORK, []),
        "version": lambda: node.runtime.version("first"),
    }
    (node.folder / "cache" / "cni-provision").mkdir(parents=True)
    cancelled(node, calls[verb])
    assert left_running() == []
    assert len(node.calls) == 1


def test_cancelling_with_undo_detaches_before_it_returns(node: Node, left_running: Callable[[], list[int]]) -> None:
    hang = HANGS.format(node.folder)
    node.script("second", f'if [ "$CNI_COMMAND" = ADD ]; then {hang}; fi')
    cancelled(node, lambda: node.runtime.add(NETWORK, C1, undo=True))
    assert left_running() == []
    assert node.asked == ["ADD first", "ADD second", "DEL second", "DEL first"]


def test_a_loop_that_is_gone_ends_the_child(node: Node, left_running: Callable[[], list[int]]) -> None:
    node.script("first", HANGS.format(node.folder))
    loop = asyncio.new_event_loop()
    call = node.runtime.add(NETWORK, C1)

    async def begin() -> None:
        call.send(None)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if (node.folder / "c.pid").exists():
                return

    loop.run_until_complete(begin())
    call.close()
    loop.close()
    assert left_running() == []


def test_32_containers_at_once(node: Node) -> None:
    for name in ("first", "second"):
        node.script(name, f"sleep 0.2; {ANSWER}")
    attachments = [Attachment(f"c{number}", "/ns") for number in range(32)]

    async def everything() -> None:
        await asyncio.gather(*(node.runtime.add(NETWORK, one) for one in attachments))
        assert len(await node.runtime.attachments()) == 32
        await asyncio.gather(*(node.runtime.delete(NETWORK, one) for one in attachments))

    started = time.monotonic()
    asyncio.run(everything())
    assert time.monotonic() - started < 32 * 4 * 0.2 / 2
    assert sorted(node.asked) == sorted(["ADD first", "ADD second", "DEL second", "DEL first"] * 32)
    assert node.blocking.attachments() == ()


def test_calls_for_one_container_take_turns(node: Node) -> None:
    for name in ("first", "second"):
        own = f"{node.folder}/$CNI_CONTAINERID"
        node.script(name, f"mkdir {own} || touch {node.folder}/twice; sleep 0.02; rmdir {own}; {ANSWER}")
    attachments = [Attachment(f"c{number % 2}", "/ns", f"eth{number}") for number in range(8)]

    async def everything() -> None:
        await asyncio.gather(*(node.runtime.add(NETWORK, one) for one in attachments))

    asyncio.run(everything())
    assert not (node.folder / "twice").exists()


def test_another_way_to_run_plugins_is_awaited(tmp_path: Path) -> None:
    asked: list[tuple[str, str, Any]] = []

    async def execute(plugin: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
        await asyncio.sleep(0)
        asked.append((plugin, environment["CNI_COMMAND"], json.loads(stdin)["name"]))
        return Outcome(0, b'{"cniVersion":"1.1.0"}')

    runtime = AsyncRuntime(["/nowhere"], str(tmp_path), execute=execute)
    asyncio.run(runtime.add(NETWORK, C1))
    assert asked == [("first", "ADD", "n"), ("second", "ADD", "n")]


def test_each_task_has_its_trace_context(tmp_path: Path) -> None:
    current: ContextVar[str] = ContextVar("current")
    seen: dict[str, str] = {}

    async def execute(plugin: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
        seen[environment["CNI_CONTAINERID"]] = environment["TRACEPARENT"]
        return Outcome(0, b"{}")

    def context() -> dict[str, str]:
        return {"traceparent": current.get(), "other": "x"}

    runtime = AsyncRuntime(["/nowhere"], str(tmp_path), execute=execute, trace_context=context)

    async def traced(network: NetworkConfig, number: int) -> None:
        current.set(f"trace {number}")
        await runtime.add(network, Attachment(f"c{number}", "/ns"))

    async def everything() -> None:
        await asyncio.gather(*(traced(NETWORK, number) for number in range(4)))

    asyncio.run(everything())
    assert seen == {f"c{number}": f"trace {number}" for number in range(4)}
