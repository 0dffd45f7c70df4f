"""Storms of real calls: servers and launchers that are killed, and warm and cold calls side by side.

The end is compared with what was answered: every ADD that succeeded is there, and nothing else is.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server.cluster import SERVED, Cluster, called

pytestmark = [pytest.mark.root, pytest.mark.slow, SERVED]

AT_ONCE = 16


def test_a_warm_storm_never_falls_back(cluster: Callable[[int], Cluster]) -> None:
    there = cluster(100)
    server = there.serve()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(there.add, range(100)))
        there.assert_live(set(range(100)))
        list(pool.map(there.delete, range(100)))
    there.assert_live(set())
    server.end()
    lines = server.log.read_text().splitlines()
    assert not any("cold=" in line for line in lines)
    assert sum("verb=ADD" in line for line in lines) == 200
    assert sum("verb=DEL" in line for line in lines) == 200


def test_half_of_a_storm_warm_and_half_cold_ends_alike(cluster: Callable[[int], Cluster]) -> None:
    there = cluster(24)
    there.serve()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(pool.map(lambda number: there.add(number, cold=number % 2 == 0), range(24)))
        there.assert_live(set(range(24)))
        list(pool.map(lambda number: there.delete(number, cold=number % 4 < 2), range(24)))
    there.assert_live(set())


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_is_killed_in_a_storm(cluster: Callable[[int], Cluster], seed: int) -> None:
    there, chance = cluster(200), random.Random(seed)
    server = there.serve()
    after, without = chance.uniform(0.1, 1.0), 0.3
    killer = threading.Timer(after, lambda: [server.kill(), time.sleep(without), there.serve()])
    killer.start()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(there.add, range(200)))
        killer.join()
        live = {number for number, succeeded in enumerate(answers) if succeeded}
        lost = set(range(200)) - live
        assert live
        there.gc(live) if seed % 2 else list(pool.map(there.delete, lost))
    there.assert_live(live)
    some = sorted(live)[:5]
    for number in some:
        there.delete(number)
        assert there.add(number)
    assert f"verb=ADD network=storm container=c{some[0]}" in server.log.read_text()
    there.assert_live(live)


@pytest.mark.parametrize("cleaned", [True, False], ids=["then DEL", "without DEL"])
def test_launchers_that_are_killed(cluster: Callable[[int], Cluster], cleaned: bool) -> None:
    there, chance = cluster(60), random.Random(7)
    there.serve()
    delays = [chance.uniform(0.0, 0.06) for _ in range(60)]

    def attach(number: int) -> bool:
        if number % 3 == 0:
            return there.add(number)
        with there.start("ADD", there.bridge, number) as process:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            time.sleep(delays[number])
            os.kill(process.pid, signal.SIGKILL)
            done = called(process)
        return done.code == 0 and done.result is not None

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attach, range(60)))
    live = {number for number, succeeded in enumerate(answers) if succeeded}
    assert 60 > len(live) >= 20
    mapped = {number for number in live if number % 3 == 0}
    if cleaned:
        for number in set(range(60)) - mapped:
            there.delete(number)
        there.assert_live(mapped)
        return
    wait_for(lambda: there.leases() == live)
    assert there.ports() == live
    assert there.mapped() == mapped


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
