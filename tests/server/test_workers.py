from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from cni_provision.server.workers import Workers
from tests.server.conftest import PATIENCE, eventually

Open = Callable[..., Workers]


@pytest.fixture
def open_workers() -> Iterator[Open]:
    """A function that makes workers who have begun; they end with the test."""
    with ExitStack() as stack:

        def make(limit: int, failed: Callable[[BaseException], None] = lambda error: None) -> Workers:
            workers = Workers(limit, failed)
            stack.callback(eventually, lambda: not workers._waiting)
            stack.callback(workers.close)
            workers.begin()
            eventually(lambda: workers._waiting)
            return workers

        yield make


def test_a_job_that_fails_is_reported_and_the_next_one_done(open_workers: Open) -> None:
    failed: list[BaseException] = []
    done = threading.Event()
    workers = open_workers(1, failed.append)
    workers.submit(partial(int, "x"))
    workers.submit(done.set)
    assert done.wait(PATIENCE)
    assert [type(error) for error in failed] == [ValueError]


def test_no_more_than_the_limit_are_at_work_and_one_waits(open_workers: Open) -> None:
    workers = open_workers(3)
    release = threading.Event()
    for _ in range(10):
        workers.submit(partial(release.wait, PATIENCE))
    eventually(lambda: workers._working == 3 and workers._waiting)
    assert len(workers._jobs) == 7
    release.set()
    eventually(lambda: not workers._jobs and not workers._working)


def test_many_jobs_at_once_have_many_threads(open_workers: Open) -> None:
    """One nudge may stand for several jobs: who takes one sees to the next."""
    workers = open_workers(8)
    together = threading.Barrier(8)
    for _ in range(8):
        workers.submit(partial(together.wait, PATIENCE))
    eventually(lambda: not workers._working and not workers._jobs)
    assert not together.broken


def test_one_who_is_away_gives_its_place_to_another(open_workers: Open) -> None:
    workers = open_workers(1)
    gone, come, inside = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        with workers.away():
            gone.set()
            assert come.wait(PATIENCE)

    workers.submit(job)
    assert gone.wait(PATIENCE)
    workers.submit(inside.set)
    assert inside.wait(PATIENCE)
    come.set()
    eventually(lambda: not workers._working)


def test_threads_that_those_away_needed_end(open_workers: Open) -> None:
    workers = open_workers(2)
    together, seen = threading.Barrier(20), threading.active_count()

    def job() -> None:
        with workers.away():
            together.wait(PATIENCE)

    for _ in range(20):
        workers.submit(job)
    eventually(lambda: not workers._working and not workers._jobs)
    eventually(lambda: workers._waiting <= 3)
    eventually(lambda: threading.active_count() <= seen + 3)
