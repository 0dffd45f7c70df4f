"""`render`: what would land on nodes, as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cni_provision.cli.options import Output, Selection, output_options, selection_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.completion import complete_node
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.errors import UserError
from cni_provision.events import Rendered, Summary

if TYPE_CHECKING:
    from cni_provision.desired import Desired


@define(
    "render",
    "print the files that would land on nodes",
    ("--node web-01", "the files of one node"),
    ("--node web-01 | jq .plugins", "names of files go to stderr, so stdout is JSON after JSON"),
    ("-o out", "out/NODE/etc/cni/net.d/…, for review or another tool"),
)
@click.option("--node", metavar="NODE", shell_complete=complete_node, help="Only this node.")
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write files below DIR.",
)
@selection_options
@output_options
def command(node: str | None, output_dir: Path | None, selection: Selection, output: Output) -> int:
    """Print the files that would land on nodes: conflists and drop-ins; touch no node.

    Executables are left out. A file whose text holds a secret is named, not printed; `-o` writes it with
    mode 0600.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.selection import prepared

        _, everything = prepared(selection, emit)
        chosen = [desired for desired in everything.desired if node in (None, desired.node.name)]
        if not chosen:
            raise UserError(f"no node `{node}` in the inventory", hint="`cni-provision validate` counts them")
        for desired in chosen:
            for event in rendered(desired, output_dir):
                emit(event)
        return Summary(exit_code=0, nodes=len(chosen))

    return run("render", output, work)


def rendered(desired: Desired, folder: Path | None) -> list[Rendered]:
    """The text files of one node, written below `folder` when there is one."""
    from cni_provision.plan import File

    files = [state for state in desired.states.values() if isinstance(state, File) and state.digest in desired.texts]
    events = []
    for file in sorted(files, key=lambda file: file.path):
        text, secret = desired.texts[file.digest], f"file:{file.path}" in desired.secret
        if folder is None:
            events.append(Rendered(desired.node.name, file.path, None if secret else text))
        else:
            target = folder / desired.node.name / file.path.lstrip("/")
            write(target, text, mode=0o600 if secret else 0o644)
            events.append(Rendered(desired.node.name, file.path, file=str(target)))
    return events


def write(target: Path, text: str, *, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=mode)
    target.chmod(mode)
    target.write_text(text, encoding="utf-8")
