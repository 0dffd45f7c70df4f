"""What `exec which` prints: each runtime's choice, and what it makes of each file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cni_provision.cli.view.paper import harmless
from cni_provision.cli.view.table import table

if TYPE_CHECKING:
    from cni_provision.cni.loaders import Choice, Look

SAID = {
    "chosen": "chosen",
    "known": "known as",
    "hidden": "hidden:",
    "skipped": "skipped:",
    "fatal": "malformed:",
    "unread": "not read:",
    "ignored": "ignored:",
}


def text(choices: Iterable[Choice]) -> str:
    """One paragraph for each runtime."""
    return "\n".join("".join(f"{harmless(line)}\n" for line in paragraph(choice)) for choice in choices)


def paragraph(choice: Choice) -> Iterator[str]:
    network = f"`{choice.network}`" if choice.network else "a network without a name" if choice.file else "none"
    where = f" from {choice.file}" if choice.file else ""
    yield f"{choice.runtime} takes {network}{where}: {choice.why}"
    for line in table(("", ""), [(look.file, said(look)) for look in choice.looks])[1:]:
        yield f"  {line}"


def said(look: Look) -> str:
    """`skipped: no `type``, `known as `pods``."""
    named = f"`{look.network}`" if look.verdict == "known" else ""
    chosen = f"{SAID[look.verdict]}:" if look.verdict == "chosen" and look.why else SAID[look.verdict]
    return " ".join(filter(None, (chosen, named, look.why)))
