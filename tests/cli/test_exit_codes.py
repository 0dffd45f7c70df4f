"""`cni_provision.cli.exit_codes`: the table, and each of its rows as a process."""

from __future__ import annotations

import itertools

import click
import pytest

from cni_provision.cli.exit_codes import PRECEDENCE, Exit, decide, of_error
from cni_provision.errors import Busy, Conflict, Declined, Mistakes, Unreachable


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 2], 2),
        ([2, 4], 4),
        ([0, 4, 4], 4),
        ([4, 3, 2], 3),
        ([65, 3], 65),
        ([1, 65], 1),
        ([130, 1], 130),
        ([143, 3], 143),
    ],
)
def test_decide(codes: list[int], expected: int) -> None:
    assert decide(codes) == expected


def test_decide_does_not_depend_on_order() -> None:
    for pair in itertools.permutations(PRECEDENCE, 2):
        assert decide(pair) == decide(reversed(pair)) == min(pair, key=PRECEDENCE.index)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (click.UsageError("no such option"), Exit.USAGE),
        (click.Abort(), Exit.INTERRUPTED),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (Mistakes(()), Exit.INPUT),
        (Declined("no"), Exit.NODES_FAILED),
        (Busy("locked"), Exit.NODES_FAILED),
        (Conflict("moved"), Exit.NODES_FAILED),
        (Unreachable("timed out"), Exit.UNREACHABLE),
        (ZeroDivisionError(), Exit.OURS),
    ],
)
def test_of_error(error: BaseException, expected: int) -> None:
    assert of_error(error) == expected
