"""What reading an inventory may ask of the world outside: to run a program. The reader itself only computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it said; `answer` is what it wrote to the pipe that it was given for that."""

    code: int
    output: bytes
    complaint: bytes = b""
    answer: bytes = b""


class Run(Protocol):
    """Runs a program to its end. Raises OSError if there is no such program, or it is none."""

    def __call__(self, argv: Sequence[str], variables: Mapping[str, str], *, answers: bool = False) -> Ran:
        """`variables` are added to the environment; `answers`: ANSWER_VARIABLE there is a pipe's descriptor."""


ANSWER_VARIABLE = "CNI_PROVISION_ANSWER"
