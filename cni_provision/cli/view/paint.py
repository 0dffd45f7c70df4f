"""When to use colour, and which; every line is readable without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
BY_SIGN = {"+": "green", "-": "red", "~": "yellow", "!": "yellow", "@": "cyan"}


@dataclass(frozen=True)
class Paint:
    """Colours for one stream, or none."""

    colored: bool = False

    def __call__(self, text: str, *styles: str) -> str:
        """`text` in the given styles; empty text stays empty."""
        if not (self.colored and text and styles):
            return text
        return f"\033[{';'.join(CODES[style] for style in styles)}m{text}\033[0m"

    def signed(self, line: str) -> str:
        """A line in the colour of the sign that it begins with."""
        color = BY_SIGN.get(line.lstrip()[:1])
        return self(line, color) if color else line


def wants_color(mode: str, environ: Mapping[str, str], *, terminal: bool) -> bool:
    """`--color`, then NO_COLOR, then FORCE_COLOR and CLICOLOR_FORCE, then whether it is a terminal."""
    if mode != "auto":
        return mode == "always"
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return terminal and environ.get("TERM") != "dumb"
