"""What an operation wants done, one step after the other, by whoever drives it: a thread here, an event loop there.

An operation is a generator: it yields a step, is sent the step's answer (or has its failure raised at the `yield`),
and returns its own. So everything about the protocol is written once, and `drive` is all that is blocking.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, Union

_T = TypeVar("_T")


@dataclass(frozen=True)
class Wait:
    """Until the descriptor is readable, at most so many seconds; without a descriptor just so long. No answer."""

    seconds: float | None
    descriptor: int | None = None


@dataclass(frozen=True)
class Blocking:
    """A function that may wait for a disk; the answer is what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Run:
    """One plugin, by the way that the runtime was given; the answer is its `Outcome`."""

    plugin: str
    environment: Mapping[str, str]
    stdin: bytes


Step = Union[Wait, Blocking, Run]
Operation = Generator[Step, Any, _T]
_S = TypeVar("_S")


def drive(operation: Generator[_S, Any, _T], perform: Callable[[_S], Any]) -> _T:
    """The operation's answer. Whatever a step raises (an interrupt too) is raised inside the operation first."""
    try:
        step = next(operation)
        while True:
            try:
                answer = perform(step)
            except BaseException as error:
                step = operation.throw(error)
            else:
                step = operation.send(answer)
    except StopIteration as end:
        found: _T = end.value
        return found


def wait(step: Wait) -> None:
    """The step in this thread."""
    if step.descriptor is None:
        time.sleep(step.seconds or 0)
        return
    poller = select.poll()
    poller.register(step.descriptor, select.POLLIN)
    poller.poll(None if step.seconds is None else step.seconds * 1000)
