"""What reading an inventory may ask of the world outside: to run a program. The reader itself only computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it said; `answer` is what it wrote to its descriptor for that."""

    code: int
    output: bytes
    complaint: bytes = b""
    answer: bytes = b""


class TookTooLong(Exception):
    """A program was ended because it took more than `seconds`; the environment's `variable` says how many it may."""

    def __init__(self, seconds: float, variable: str) -> None:
        super().__init__(f"no end after {seconds:g} s")
        self.hint = f"it may take more with `{variable}=SECONDS` in the environment"


class Run(Protocol):
    """Runs a program to its end. Raises OSError if there is no such program, or it is none, and TookTooLong."""

    def __call__(self, argv: Sequence[str], variables: Mapping[str, str], *, answers: bool = False) -> Ran:
        """`variables` are added to the environment; `answers`: ANSWER_VARIABLE there is a descriptor to write to."""


ANSWER_VARIABLE = "CNI_PROVISION_ANSWER"
