"""An exception as events: what every command says when it cannot go on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from cni_provision.errors import CniProvisionError, Diagnostic, NodeError, Place, UserError
from cni_provision.events import DiagnosticFound, Event, NodeFailed

DEFECT_HINT = "this is a defect; run with `--debug` to see where, and please report it"
QUOTED = re.compile(r"'([^']*)'")


def events(error: BaseException) -> Iterator[Event]:
    """What to tell about `error`; a defect is one line, its traceback only comes with `--debug`."""
    if isinstance(error, UserError):
        yield from map(diagnostic, error.diagnostics)
    elif isinstance(error, NodeError):
        yield NodeFailed(error.node, error.reason, error.message, error.hint)
    elif isinstance(error, CniProvisionError):
        yield DiagnosticFound("error", error.message, hint=error.hint)
    elif isinstance(error, KeyboardInterrupt | click.Abort):
        yield DiagnosticFound("error", "interrupted")
    elif isinstance(error, click.UsageError):
        yield usage(error)
    elif isinstance(error, OSError) and error.filename:
        yield DiagnosticFound("error", f"`{error.filename}`: {error.strerror}")
    else:
        yield DiagnosticFound("error", f"{type(error).__name__}: {first_line(error)}", hint=DEFECT_HINT)


def usage(error: click.UsageError) -> DiagnosticFound:
    """click's sentence in our words: backticks, no full stop, what may have been meant as the hint."""
    text, meant = usage_parts(error.format_message())
    hint = f"did you mean {quoted(meant)}" if meant else None
    if not hint and error.ctx:
        hint = f"`{error.ctx.command_path} --help` says what there is"
    # click begins its sentences with a capital; a name in capitals stays as it is
    return DiagnosticFound("error", text if text[1:2].isupper() else text[:1].lower() + text[1:], hint=hint)


def usage_parts(message: str) -> tuple[str, str]:
    """What is wrong, and what may have been meant: `No such command 'x'. (Did you mean one of: 'y', 'z'?)`."""
    text, _, meant = message.replace(" (Did you mean", " Did you mean").partition(" Did you mean ")
    return quoted(text).rstrip("."), meant.removeprefix("one of: ").rstrip(")")


def quoted(text: str) -> str:
    """Backticks for click's quotation marks."""
    return QUOTED.sub(r"`\1`", text)


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "no message")


def diagnostic(mistake: Diagnostic) -> DiagnosticFound:
    """A mistake or warning of the inventory as the event that both views draw."""
    place = mistake.place or Place("")
    return DiagnosticFound(
        severity=mistake.severity,
        message=mistake.message,
        file=place.file or None,
        line=place.line or None,
        column=place.column or None,
        width=mistake.width if place.line else None,
        hint=mistake.hint,
        node=mistake.node,
        related=[related(where, note) for where, note in mistake.related] or None,
        hidden=mistake.hidden or None,
    )


def related(place: Place, note: str) -> dict[str, str | int]:
    return {"message": note, "file": place.file, "line": place.line, "column": place.column}
