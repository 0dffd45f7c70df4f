"""The exit codes of the process, in one table, and the one rule that picks among several.

0 yes · 2 no (drift, a failed check) · 3 some or all nodes failed · 4 every failure was unreachable · 64 usage ·
65 something that the user wrote · 1 ours · 130 and 143 interrupted. A run that earned several ends with
the first of `PRECEDENCE`, so 2 means that every asked node answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import click

from cni_provision.errors import CniProvisionError


class Exit(IntEnum):
    """What the process says to scripts."""

    YES = 0
    OURS = 1
    NO = 2
    NODES_FAILED = 3
    UNREACHABLE = 4
    USAGE = 64
    INPUT = 65
    INTERRUPTED = 130
    TERMINATED = 143


PRECEDENCE = (
    Exit.TERMINATED,
    Exit.INTERRUPTED,
    Exit.OURS,
    Exit.USAGE,
    Exit.INPUT,
    Exit.NODES_FAILED,
    Exit.UNREACHABLE,
    Exit.NO,
    Exit.YES,
)

# click's own numbers (2 for usage, 1 for Ctrl-C) mean something else here
RAISED: tuple[tuple[type[BaseException], Exit], ...] = (
    (click.UsageError, Exit.USAGE),
    (click.Abort, Exit.INTERRUPTED),
    (KeyboardInterrupt, Exit.INTERRUPTED),
)


def decide(codes: Iterable[int]) -> int:
    """The code of the whole from the codes of its parts; of nothing at all it is 0."""
    earned = set(codes)
    return next((int(code) for code in PRECEDENCE if code in earned), int(Exit.YES))


def of_error(error: BaseException) -> int:
    """The exit code that an exception stands for; an unknown one is a defect of ours."""
    if isinstance(error, CniProvisionError):
        return error.exit_code
    return next((int(code) for kind, code in RAISED if isinstance(error, kind)), int(Exit.OURS))
