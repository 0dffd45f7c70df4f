"""Texts without the secrets in them: what every mistake and warning goes through before somebody reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from cni_provision.errors import Diagnostic

SHOWN = "(secret)"
SHORT = 8  # characters; a shorter value is a part of too many words, and hidden only where it is quoted alone
CUT = 16  # so much of the beginning of a value betrays it where a message shows no more
QUOTED = re.compile(r"`[^`]*`")


@dataclass
class Hiding:
    """The values that must not be shown."""

    values: set[str] = field(default_factory=set)

    def add(self, value: Any) -> None:
        """A value, or everything in a container."""
        if isinstance(value, dict):
            for item in (*value, *value.values()):
                self.add(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.add(item)
        elif value not in (None, "") and not isinstance(value, bool):
            text = str(value)
            self.values |= {
                text,
                json.dumps(text)[1:-1],
                json.dumps(text, ensure_ascii=False)[1:-1],
                repr(text)[1:-1],
            }

    def hide(self, text: str) -> str:
        """The text with each of the values replaced."""
        for value in sorted(self.values, key=len, reverse=True):
            if len(value) < SHORT:
                text = text.replace(f"`{value}`", f"`{SHOWN}`")
                continue
            text = text.replace(value, SHOWN)
            if len(value) > CUT and (at := text.find(value[:CUT])) >= 0:
                length = next(n for n in range(len(value), 0, -1) if text.startswith(value[:n], at))
                text = text.replace(value[:length], SHOWN)
        return text

    def of(self, found: Diagnostic) -> Diagnostic:
        """A diagnostic that tells none of them."""
        if not self.values:
            return found
        related = tuple((place, self.hide(note)) for place, note in found.related)
        return replace(
            found, message=self.hide(found.message), hint=self.hide(found.hint or "") or None, related=related
        )

    def all_of(self, found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        return tuple(map(self.of, found))


def unquoted(text: str) -> str:
    """A message that may quote what a secret was made into, without its quotations."""
    return QUOTED.sub(f"`{SHOWN}`", text)
