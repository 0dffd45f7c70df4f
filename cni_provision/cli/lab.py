"""`lab`: nodes on this machine, to try an inventory before it touches a fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cni_provision.cli.options import Output, output_options
from cni_provision.cli.run.command import CONTEXT, Group
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Progress, Summary, Text

name_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--name", default="default", metavar="NAME", help="Which lab. Default: default."
)


@click.group("lab", cls=Group, short_help="nodes on this machine, to try an inventory", context_settings=CONTEXT)
def command() -> None:
    """Nodes on this machine, to try an inventory before it touches a fleet. Needs root.

    Each node has its own namespaces, an overlay of this machine's files, and its own SSH server. Nothing of this
    machine is changed, and a lab goes away entirely when its holder process ends.
    """


@command.command(
    "up",
    short_help="start nodes",
    examples=(
        ("3", "node-1, node-2 and node-3"),
        ("5 --name staging", "a second lab beside it"),
        ("1 --opt-size 1m", "a node whose /opt fills up soon"),
    ),
)
@click.argument("count", type=click.IntRange(1), metavar="N")
@name_option
@click.option("--opt-size", metavar="SIZE", help="Make /opt a file system of this size.")
@output_options
def up(count: int, name: str, opt_size: str | None, output: Output) -> int:
    """Start N nodes and wait until their SSH servers listen."""

    def work(emit: Emit) -> Summary:
        from cni_provision import lab

        there = lab.up(count, name, lab.Shape(opt_size=opt_size))
        for node in there.nodes:
            emit(Progress(f"{node.name}  {node.address}"))
        command = f"cni-provision lab inventory{named(name)} > hosts.yaml"
        return Summary(0, len(there.nodes), next_command=command, next_reason="for an inventory of them")

    return run("lab up", output, work)


@command.command(
    "down", short_help="end a lab and everything in it", examples=(("--name staging", "the lab `staging`"),)
)
@name_option
@output_options
def down(name: str, output: Output) -> int:
    """End a lab and everything in it."""

    def work(emit: Emit) -> Summary:
        from cni_provision import lab

        lab.down(name)
        emit(Progress(f"lab `{name}` is down"))
        return Summary(0, 0)

    return run("lab down", output, work)


@command.command(
    "exec",
    short_help="run a command in a node",
    examples=(
        ("node-1 -- ip address", "look around"),
        ("node-2 -- sh", "a shell"),
    ),
    context_settings={**CONTEXT, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
@name_option
@click.argument("node")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def execute(name: str, node: str, argv: tuple[str, ...]) -> int:
    """Run a command as root in NODE, on this terminal; ends with the command's exit code."""

    def work(emit: Emit) -> Summary:
        from cni_provision import lab

        words = argv[1:] if argv[0] == "--" else argv
        return Summary(lab.execute(lab.find(name), node, words), 1)

    return run("lab exec", Output(), work)


@command.command(
    "inventory",
    short_help="print an inventory of a lab's nodes",
    examples=(
        ("> hosts.yaml", "over SSH, as root"),
        ("--user ada > hosts.yaml", "as a user who becomes root by sudo"),
    ),
)
@name_option
@click.option("--user", default="root", metavar="USER", help="Log in as USER. Default: root.")
@click.option(
    "--connection", type=click.Choice(["ssh", "lab"]), default="ssh", help="`lab` enters the namespaces without SSH."
)
@output_options
def inventory(name: str, user: str, connection: str, output: Output) -> int:
    """Print an inventory of a lab's nodes, in the group `lab`."""

    def work(emit: Emit) -> Summary:
        from cni_provision import lab

        emit(Text(lab.inventory(lab.find(name), user=user, connection=connection)))
        return Summary(0, 0)

    return run("lab inventory", output, work)


def named(name: str) -> str:
    return "" if name == "default" else f" --name {name}"
