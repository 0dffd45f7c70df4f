"""Where a view writes: one stream, its colours, and one line at its end that is redrawn."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from cni_provision.cli.view.paint import Paint

ERASE_LINE = "\r\033[K"
# control characters in what a node said must not reach the terminal
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """`text` with control characters spelled out; tabs and newlines stay."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


@dataclass
class Paper:
    """A stream that goes silent when it cannot be written: the run itself goes on.

    `failure` is why, unless its reader has simply gone.
    """

    stream: TextIO
    paint: Paint = field(default_factory=Paint)
    closed: bool = False
    failure: OSError | None = None

    def write(self, text: str) -> None:
        if self.closed:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError) as error:
            self.closed = True
            self._discard()
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                error.filename = self.stream.name
                self.failure = error

    def lines(self, lines: Iterable[str]) -> None:
        self.write("".join(f"{line}\n" for line in lines))

    def _discard(self) -> None:
        """Let the interpreter's own flush at exit go nowhere instead of into the broken pipe."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self.stream.fileno())
        except (OSError, ValueError):
            return
        finally:
            os.close(nowhere)


@dataclass
class LiveLine:
    """The last line of a terminal, redrawn in place; `clear` before anything else is written."""

    paper: Paper
    shown: str = ""

    def draw(self, text: str) -> None:
        columns = shutil.get_terminal_size().columns
        text = text[: columns - 1]
        if text != self.shown:
            self.paper.write(ERASE_LINE + text)
            self.shown = text

    def clear(self) -> None:
        if self.shown:
            self.paper.write(ERASE_LINE)
            self.shown = ""
