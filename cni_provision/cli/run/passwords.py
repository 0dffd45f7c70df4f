"""Passwords of a run: from a file or the terminal, never from argv or the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cni_provision.cli.run.prompt import need_terminal
from cni_provision.transport.base import Secrets

if TYPE_CHECKING:
    from cni_provision.cli.options import Reach


def secrets(reach: Reach) -> Secrets:
    """Ask for what the options name, the login's first; raises `click.UsageError` where nobody can answer."""
    login = ask("SSH password", "-k") if reach.ask_pass else None
    return Secrets(become_password(reach), login)


def become_password(reach: Reach) -> str | None:
    if reach.become_password_file:
        return first_line(reach.become_password_file)
    return ask("password of sudo or doas", "-K") if reach.ask_become_pass else None


def first_line(file: Path) -> str:
    """A password file's first line, without its newline."""
    with file.open(encoding="utf-8") as stream:
        return stream.readline().rstrip("\r\n")


def ask(what: str, option: str) -> str:
    need_terminal(f"`{option}` asks for the {what} on a terminal, and there is none")
    answer: str = click.prompt(what, hide_input=True, err=True)
    return answer
