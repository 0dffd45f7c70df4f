"""`plugin`: what executables nodes have, and building our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cni_provision.cli.options import Output, Reach, Selection, output_options, reach_options, selection_options
from cni_provision.cli.run.command import CONTEXT, Group
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.errors import UserError
from cni_provision.events import PluginFound, Progress, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_provision.fleet import Outcome


@click.group("plugin", cls=Group, short_help="list plugins on nodes, build ours", context_settings=CONTEXT)
def command() -> None:
    """List the plugins that nodes have; build this project's plugins."""


@command.command(
    "list",
    short_help="show the plugins that nodes have",
    examples=(
        ("", "all nodes; those with the same plugins together"),
        ("-l db-07 --json", "one node, for a program"),
    ),
)
@selection_options
@reach_options
@output_options
def list_(selection: Selection, reach: Reach, output: Output) -> int:
    """Show what nodes have in their plugin folder: digest, owner, and the versions that they speak."""

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.asking import Fleet, summary
        from cni_provision.cli.run.jobs import asking
        from cni_provision.cli.run.selection import select

        answers = Fleet(reach, emit).ask(asking(select(selection, emit), "plugins"))
        for outcome in answers.answered:
            for found in plugins_of(outcome):
                emit(found)
        return summary(answers)

    return run("plugin list", output, work)


def plugins_of(outcome: Outcome) -> Iterator[PluginFound]:
    """What a node tells about its executables."""
    assert outcome.reply
    for plugin in outcome.reply.facts.get("plugins", ()):
        yield PluginFound(
            node=outcome.node.name,
            plugin=plugin["name"],
            digest=f"sha256:{plugin['digest']}",
            version=plugin.get("version"),
            versions=plugin["versions"] or None,
            owner=plugin["owner"],
            message=None if plugin["versions"] else "does not answer VERSION",
        )


@command.command(
    "build",
    short_help="build this project's plugins as executables",
    examples=(
        ("-o out", "all of them"),
        ("-o out bridge host-local", "two of them"),
        ("-o out --arch arm64", "with the launcher for another architecture"),
    ),
)
@click.argument("names", nargs=-1, metavar="[PLUGIN]...")
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Where to.",
)
@click.option("--arch", metavar="ARCH", help="Go's name of the nodes' architecture; default: this machine's.")
@output_options
def build(names: tuple[str, ...], output_dir: Path, arch: str | None, output: Output) -> int:
    """Build this project's plugins into DIR as self-contained executables.

    Each is a native launcher and the plugin's sources, and runs on any node of that architecture with Python 3.9 or
    newer. Without --arch and a launcher at hand the head is a script for every architecture. The same sources give
    the same bytes on every machine.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.artifact import build_plugin

        sources, head = chosen(names), head_for(arch)
        output_dir.mkdir(parents=True, exist_ok=True)
        for source in sources:
            target = output_dir / name_of(source)
            install(target, build_plugin(source, head))
            emit(Progress(str(target)))
        return Summary(0, 0)

    return run("plugin build", output, work)


def head_for(architecture: str | None) -> bytes:
    """What the executables begin with; raises `UserError` for a launcher that is named and cannot be had."""
    from cni_provision.artifact import default_cache
    from cni_provision.artifact_build import HEAD
    from cni_provision.artifact_launcher import launcher, launchers, own_architecture

    if architecture:
        return launcher(architecture, default_cache())
    return launchers(default_cache()).get(own_architecture(), HEAD)


def chosen(names: Sequence[str]) -> list[Path]:
    """The sources of the named plugins, of all without names; raises `UserError` for an unknown one."""
    from cni_provision import data

    sources = {name_of(path): path for path in sorted((data.root() / "plugins").glob("*.py"))}
    unknown = [name for name in names if name not in sources]
    if unknown:
        raise UserError(f"there is no plugin `{unknown[0]}`", hint=f"there are {', '.join(sources)}")
    return [sources[name] for name in names or sources]


def name_of(source: Path) -> str:
    """`host-local` for `plugins/host_local.py`."""
    return source.stem.replace("_", "-")


def install(target: Path, executable: bytes) -> None:
    """Put the file in place by rename, so that nobody can execute half of it."""
    staged = target.with_name(f".{target.name}.tmp")
    staged.write_bytes(executable)
    staged.chmod(0o755)
    staged.replace(target)
