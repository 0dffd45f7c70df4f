"""The program: finds the command, and lets nothing but text and an exit code out.

The folder is the list of commands: `cni_provision/cli/<name>.py` holds `command`. Only the module of the
command that runs is imported (all of them for `--help`), and modules import what is heavy when they need it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from cni_provision import __version__
from cni_provision.cli.exit_codes import Exit, of_error
from cni_provision.cli.run.command import CONTEXT, WIDEST_EXAMPLE
from cni_provision.errors import Interrupted

PROGRAM = "cni-provision"
COMPLETION = "_CNI_PROVISION_COMPLETE"
NOT_COMMANDS = {"__init__", "exit_codes", "main", "options"}
SECTIONS = {
    "Describe": ("init", "validate", "render", "schema"),
    "Change": ("plan", "diff", "apply", "rollback", "remove"),
    "Look": ("status", "verify", "plugin"),
    "Try": ("exec", "lab", "server"),
}

EXAMPLES = (
    ("init", "an example inventory to begin with"),
    ("plan -l web", "what would change on the group `web`"),
    ("apply", "make it so, after asking"),
)


class Commands(click.Group):
    """The commands by file name, listed by what they are for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = {name[:-3] for name in os.listdir(os.path.dirname(__file__)) if name.endswith(".py")}
        return sorted(found - NOT_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"cni_provision.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the lazy commands among those that may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write_dl([(f"{PROGRAM} {typed}", what) for typed, what in EXAMPLES], col_max=WIDEST_EXAMPLE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        known = {name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))}
        placed = {name for names in SECTIONS.values() for name in names}
        sections = {**SECTIONS, "More": tuple(name for name in known if name not in placed)}
        for title, names in sections.items():
            rows = [(name, known[name].get_short_help_str(70)) for name in names if name in known]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.command(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
def program() -> None:
    """Provision container networking (CNI plugins and conflists) on fleets of Linux hosts."""


def main() -> None:
    """The entry point of the `cni-provision` executable."""
    signal.signal(signal.SIGTERM, terminate)
    open_streams()
    sys.exit(run(sys.argv[1:]))


def open_streams() -> None:
    """A standard stream that the caller closed (`>&-`) takes what is written and drops it."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (open to the end)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 (open to the end)


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does, with its own exit code."""
    interruption = Interrupted("terminated")
    interruption.exit_code = Exit.TERMINATED
    raise interruption


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code, whatever happens."""
    try:
        code = program.main(list(arguments), PROGRAM, complete_var=COMPLETION, standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        from cni_provision.cli.run.invocation import stray

        stray(error, debug="--debug" in arguments)
        return of_error(error)
    return code if isinstance(code, int) else int(Exit.YES)
