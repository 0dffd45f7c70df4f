"""`validate`: find every mistake without touching a node."""

from __future__ import annotations

from cni_provision.cli.options import Output, Selection, output_options, selection_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Summary


@define(
    "validate",
    "find mistakes without touching a node",
    ("", "the inventory in ./inventory/ or ./hosts.yaml"),
    ("-i production/ -l web", "only the nodes of the group `web`"),
    ("--json | jq .message", "the messages alone"),
)
@selection_options
@output_options
def command(selection: Selection, output: Output) -> int:
    """Find the mistakes in the inventory, its templates and its plugin sources; touch no node.

    Every mistake is reported at once with its file, line and column. Ends with 0 when there is none, else with 65.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.selection import checked

        inventory = checked(selection, emit)
        return Summary(exit_code=0, nodes=len(inventory.nodes))

    return run("validate", output, work)
