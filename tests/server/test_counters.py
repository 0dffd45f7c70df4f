from __future__ import annotations

import pytest

from cni_provision.server.counters import Counters, Durations


@pytest.mark.parametrize(("part", "expected"), [(0.5, 0.050), (0.99, 0.099), (1.0, 0.1)])
def test_quantiles_are_right_to_nine_percent(part: float, expected: float) -> None:
    durations = Durations()
    for milliseconds in range(1, 101):
        durations.add(milliseconds / 1000)
    assert durations.quantile(part) == pytest.approx(expected * 1000, rel=0.1)


def test_memory_is_bounded() -> None:
    durations = Durations()
    for exponent in range(-400, 400):
        durations.add(1.3**exponent if exponent < 300 else 1e30)
    durations.add(0.0)
    assert len(durations._buckets) <= 8 * 34 + 1


def test_nothing_was_asked_yet() -> None:
    told = Counters("b").snapshot()
    assert (told["requests"], told["cold"], Durations().quantile(0.5)) == ({}, {}, 0.0)
