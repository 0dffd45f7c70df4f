"""`completion`: the script that lets a shell complete commands, options, node and group names."""

from __future__ import annotations

import click

from cni_provision.cli.options import Output
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Summary, Text


@define(
    "completion",
    "print a completion script for bash, zsh or fish",
    ("bash > /etc/bash_completion.d/cni-provision", "for every user of bash"),
    ("zsh > ~/.zfunc/_cni-provision", "for zsh, with ~/.zfunc in `fpath`"),
    ("fish > ~/.config/fish/completions/cni-provision.fish", "for fish"),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for SHELL: bash (4.4 or newer), zsh or fish.

    It completes commands and options, and the inventory's node and group names after `--limit`.
    """

    def work(emit: Emit) -> Summary:
        from click.shell_completion import get_completion_class

        from cni_provision.cli.main import COMPLETION, PROGRAM, program

        kind = get_completion_class(shell)
        assert kind is not None, "click knows these three shells"
        script = kind(program, {}, PROGRAM, COMPLETION)
        emit(Text(kind.source_template % script.source_vars() + "\n"))
        return Summary(exit_code=0, nodes=0)

    return run("completion", Output(), work)
