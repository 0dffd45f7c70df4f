from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from cni_provision.server.watch import Arrival, Watch
from tests.server.conftest import PATIENCE

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_comes_is_given_once(pair: Pair) -> None:
    watch, (ours, theirs) = Watch(), pair
    watch.add(ours.fileno(), lambda: None)
    found: list[Arrival] = []
    threads = [threading.Thread(target=lambda: found.append(watch.next())) for _ in range(2)]
    for thread in threads:
        thread.start()
    theirs.send(b"x")
    watch.nudge()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 2
    assert len({id(each) for each in found}) == 2


def test_a_hang_up_is_something_that_comes(pair: Pair) -> None:
    watch, (ours, theirs) = Watch(), pair
    came = lambda: None  # noqa: E731
    theirs.close()
    watch.add(ours.fileno(), came)
    assert watch.next() is came


def test_it_can_be_watched_again(pair: Pair) -> None:
    watch, (ours, theirs) = Watch(), pair
    theirs.send(b"x")
    for _ in range(3):
        watch.add(ours.fileno(), lambda: None)
        assert watch.next()() is None


def test_a_nudge_is_nothing_to_do_and_comes_again() -> None:
    watch = Watch()
    for _ in range(3):
        watch.nudge()
        watch.nudge()
        assert watch.next()() is None
