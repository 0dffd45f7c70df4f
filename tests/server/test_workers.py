from __future__ import annotations

import threading
from functools import partial

from cni_provision.server.workers import Workers
from tests.server.conftest import PATIENCE, eventually


def test_a_job_that_fails_is_reported_and_the_next_one_done() -> None:
    failed: list[BaseException] = []
    done = threading.Event()
    workers = Workers(1, failed.append)
    workers.submit(partial(int, "x"))
    workers.submit(done.set)
    assert done.wait(PATIENCE)
    assert [type(error) for error in failed] == [ValueError]


def test_no_more_than_the_limit_and_no_more_than_needed() -> None:
    workers = Workers(3, lambda error: None)
    release = threading.Event()
    for _ in range(10):
        workers.submit(partial(release.wait, PATIENCE))
    assert workers._threads == 3
    release.set()
    eventually(lambda: workers._idle == 3)


def test_one_who_is_away_gives_its_place_to_another() -> None:
    workers = Workers(1, lambda error: None)
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
    eventually(lambda: workers._threads == 1)
