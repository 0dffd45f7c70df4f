"""The options that commands share; each family arrives in the command as one frozen value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from cni_provision.cli.run.command import option
from cni_provision.cli.run.completion import complete_limit
from cni_provision.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Output:
    """How the run is shown. `verbosity`: -1 quiet, 0, 1 and more verbose."""

    json: bool = False
    color: str = "auto"
    verbose: int = 0
    quiet: bool = False
    debug: bool = False

    @property
    def verbosity(self) -> int:
        return -1 if self.quiet else self.verbose


@dataclass(frozen=True)
class Selection:
    """Which inventory, and which of its nodes."""

    inventory: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    limit: str | None = None
    shard: str | None = None
    reader: str = "own"
    playbook_dir: str | None = None
    vault_id: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reach:
    """How nodes are reached, how many at once, and when to give up."""

    forks: int | None = None
    serial: str | None = None
    max_fail: str | None = None
    timeout: float | None = None
    mux: bool = False
    ask_become_pass: bool = False
    become_password_file: Path | None = None
    ask_pass: bool = False
    lock_timeout: float = 0.0


@dataclass(frozen=True)
class Consent:
    """What a change waits for: somebody's yes, unless `yes` is it, and that nothing stands in the way."""

    yes: bool = False
    all_or_none: bool = False
    force: bool = False


def family(kind: type[Any], name: str, *options: Decorator) -> Callable[[Function], Function]:
    """A decorator that adds `options` to a command and hands their values over as one `kind` named `name`."""
    names = [item.name for item in fields(kind)]

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            mine = kind(**{key: values.pop(key) for key in names})
            return function(**values, **{name: mine})

        decorated: Callable[..., Any] = command
        for add in reversed(options):
            decorated = add(decorated)
        return decorated  # type: ignore[return-value]

    return decorate


class ShardText(click.ParamType[str]):
    """`2/5`."""

    name = "shard"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        part, _, parts = value.partition("/")
        if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"`{value}` is no shard; write `2/5` for the second of five", param, ctx)
        return value


def for_ansible(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """What only Ansible makes use of."""
    if value and context.params.get("reader") != "ansible":
        raise click.UsageError(f"`{parameter.opts[0]}` needs `--reader ansible`", context)
    return value


output_options = family(
    Output,
    "output",
    option("Output", "--json", is_flag=True, help="Print NDJSON events instead of text."),
    option(
        "Output", "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Default: auto."
    ),
    option("Output", "-v", "--verbose", count=True, help="Show what is unchanged and passed too."),
    option("Output", "-q", "--quiet", is_flag=True, help="Show answers and errors only."),
    option("Output", "--debug", is_flag=True, help="Show tracebacks."),
)

selection_options = family(
    Selection,
    "selection",
    option(
        "Inventory",
        "-i",
        "--inventory",
        multiple=True,
        metavar="PATH",
        envvar="CNI_PROVISION_INVENTORY",
        help="File or folder; may be repeated. Default: ansible.cfg's, ./inventory/, ./hosts.yaml.",
    ),
    option("Inventory", "-e", "--extra-vars", multiple=True, metavar="VARS", help="`key=value`, JSON, or `@file`."),
    option(
        "Inventory",
        "-l",
        "--limit",
        metavar="PATTERN",
        shell_complete=complete_limit,
        help="Nodes: `web*,!web3`, `@file`.",
    ),
    option(
        "Inventory",
        "--shard",
        type=ShardText(),
        metavar="I/N",
        help="The I-th of N parts of the nodes, for runs on N machines.",
    ),
    option(
        "Inventory",
        "--reader",
        type=click.Choice(["own", "ansible"]),
        default="own",
        is_eager=True,
        help="Who evaluates the inventory.",
    ),
    option(
        "Inventory",
        "--playbook-dir",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Read `group_vars/` and `host_vars/` there too, as a playbook would.",
    ),
    option(
        "Inventory",
        "--vault-id",
        "--vault-password-file",
        "vault_id",
        multiple=True,
        metavar="ID",
        callback=for_ansible,
        help="For `--reader ansible`: `prod@prompt`, or the password's file.",
    ),
)


class PortionText(click.ParamType[str]):
    """`3` or `25%`; the fleet is only imported to look at one that was given."""

    name = "portion"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from cni_provision.fleet import Portion

        try:
            Portion.parse(value)
        except UserError as error:
            self.fail(f"{error.message}, {error.hint}", param, ctx)
        return value


reach_options = family(
    Reach,
    "reach",
    option("Nodes", "-f", "--forks", type=click.IntRange(1), metavar="N", help="Nodes at once."),
    option(
        "Nodes", "--serial", type=PortionText(), metavar="N|N%", help="Finish this many nodes before the next begin."
    ),
    option(
        "Nodes",
        "--max-fail",
        type=PortionText(),
        metavar="N|N%",
        help="Start no more nodes after this many failures.",
    ),
    option(
        "Nodes",
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Deadline of each node.",
    ),
    option("Nodes", "--mux", is_flag=True, help="Share SSH connections between runs (ControlPersist)."),
    option("Nodes", "-K", "--ask-become-pass", is_flag=True, help="Ask for the password of sudo or doas."),
    option(
        "Nodes",
        "--become-password-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read it from a file.",
    ),
    option("Nodes", "-k", "--ask-pass", is_flag=True, help="Ask for the SSH password."),
    option(
        "Nodes",
        "--lock-timeout",
        type=click.FloatRange(0),
        default=0.0,
        metavar="SECONDS",
        help="Wait for another run to end.",
    ),
)

consent_options = family(
    Consent,
    "consent",
    click.option("-y", "--yes", is_flag=True, help="Do not ask."),
    click.option("--all-or-none", is_flag=True, help="Ask every node first; change none unless all of them can be."),
    click.option("--force", is_flag=True, help="Also remove what attached containers need."),
)
