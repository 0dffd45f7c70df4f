"""Questions to the user: on a terminal only, and always on stderr."""

from __future__ import annotations

import sys

import click

from cni_provision.errors import Declined


def need_terminal(otherwise: str) -> None:
    """Raises `click.UsageError` where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(otherwise)


def can_ask(verb: str) -> None:
    """Fail before any work when a confirmation will be needed and nobody is there to give it."""
    need_terminal(f"`{verb}` asks before it changes nodes, and this is no terminal: use `--yes`")


def confirm(question: str) -> None:
    """Raises `Declined` unless the answer is yes."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # the cursor still stands behind the question
        raise
    if not agreed:
        raise Declined("declined, nothing was changed")
