"""Greetings, draining, and what is told about it all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from cni_provision.server import door
from tests.server.conftest import PATIENCE, Served, Toy, eventually

pytestmark = pytest.mark.root


def held(toy: Toy) -> tuple[threading.Event, threading.Event]:
    """ADD begins and waits: (it has begun, let it go on)."""
    begun, go_on = threading.Event(), threading.Event()

    def work(call: object) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    toy.on["ADD"] = work
    return begun, go_on


def test_what_has_begun_is_finished_and_nothing_new_begins(served: Served) -> None:
    begun, go_on = held(served.toy)
    caller = served.caller()
    caller.ask("ADD")
    assert begun.wait(PATIENCE)
    served.door.stop()
    assert served.connect().greeting() == "cni-provision 1 cold server ends"
    go_on.set()
    assert caller.answer().code == 0
    caller.acknowledge()
    served.thread.join(PATIENCE)
    assert not served.thread.is_alive()
    assert served.told()["requests"]["ADD"]["count"] == 1


def test_an_idle_server_ends_at_once(served: Served) -> None:
    started = time.monotonic()
    served.close()
    assert time.monotonic() - started < 1


def test_too_many_guests_are_told_cold(served: Served) -> None:
    guests = [served.caller() for _ in range(door.MOST_GUESTS)]
    assert served.connect().greeting() == "cni-provision 1 cold busy"
    guests.pop().close()
    eventually(lambda: len(served.door._guests) < door.MOST_GUESTS)
    served.caller()


def test_busy_workers_keep_nobody_from_being_greeted(served: Served) -> None:
    begun, go_on = held(served.toy)
    callers = [served.caller() for _ in range(2 * door.AT_ONCE)]
    for number, caller in enumerate(callers):
        caller.ask("ADD", container_id=f"c{number}")
    assert begun.wait(PATIENCE)
    served.caller()
    go_on.set()
    for caller in callers:
        assert caller.answer().code == 0
        caller.acknowledge()


def test_at_most_so_many_work_at_once(served: Served) -> None:
    working, most, lock = [0], [0], threading.Lock()

    def work(call: object) -> None:
        with lock:
            working[0] += 1
            most[0] = max(most[0], working[0])
        time.sleep(0.02)
        with lock:
            working[0] -= 1

    served.toy.on["ADD"] = work
    callers = [served.caller() for _ in range(3 * door.AT_ONCE)]
    for number, caller in enumerate(callers):
        caller.ask("ADD", container_id=f"c{number}")
    for caller in callers:
        assert caller.answer().code == 0
        caller.acknowledge()
    assert most[0] == door.AT_ONCE


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"R", id="a part of a frame"),
        pytest.param(b"R\xff\xff\xff\xff", id="a length beyond all bounds"),
        pytest.param(b"Z\x00\x00\x00\x00", id="a type that is none"),
        pytest.param(b"R\x00\x00\x00\x00", id="no request"),
        pytest.param(b"R\x03\x00\x00\x00abc", id="a request without an end"),
        pytest.param(b"R\x06\x00\x00\x00t\0AB\0\0", id="a variable without a value"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="another protocol"),
    ],
)
def test_who_does_not_speak_as_it_should_is_dropped(served: Served, said: bytes) -> None:
    caller = served.caller()
    if said:
        caller.send(said)
    caller.close()
    eventually(lambda: not served.door._guests)
    assert served.call("STATUS").code == 0
    assert served.toy.calls == ["STATUS"]


def test_descriptors_are_closed(served: Served, descriptors: Callable[[], int]) -> None:
    served.call("ADD")
    before = descriptors()
    for _ in range(50):
        assert served.call("ADD").code == 0
    caller = served.caller()
    for piece in (b"R", b"\x07\x00\x00\x00", b"abc"):  # each with a descriptor
        caller.send(piece)
    caller.close()
    eventually(lambda: not served.door._guests)
    eventually(lambda: descriptors() <= before)


def test_a_door_that_was_closed_leaves_none_open(
    open_door: Callable[..., Served], descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    served = open_door()
    served.call("ADD")
    served.close()
    eventually(lambda: descriptors() <= before + 2)  # the listener and the lock `alive`, which are not the door's


def test_counters_are_told_within_a_second_or_so(served: Served) -> None:
    served.call("ADD")
    served.call("DEL")
    served.call("nonsense")
    eventually(lambda: served.told()["requests"].keys() == {"ADD", "DEL", "other"})
    told = served.told()
    assert told["build"] == "build-1"
    assert (told["requests"]["ADD"]["count"], told["requests"]["other"]["failed"]) == (1, 1)
    assert told["requests"]["ADD"]["p99_ms"] >= told["requests"]["ADD"]["p50_ms"] > 0
