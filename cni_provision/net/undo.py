"""Taking back what was done when a later step fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any


class Undo(ExitStack):
    """A context whose steps run, last first, unless it is left after `keep`.

    with Undo() as undo:
        pair = make(...)
        undo.later(delete, pair)
        configure(pair)
        undo.keep()
    """

    def later(self, step: Callable[..., object], *arguments: Any) -> None:
        """Note how to take something back; that this fails itself must not hide why it was needed."""
        self.callback(_quietly, partial(step, *arguments))

    def keep(self) -> None:
        self.pop_all()


def _quietly(step: Callable[[], object]) -> None:
    with suppress(Exception):
        step()
