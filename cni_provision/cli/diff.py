"""`diff`: drift as a unified diff."""

from __future__ import annotations

from cni_provision.cli.options import Output, Reach, Selection, output_options, reach_options, selection_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Summary


@define(
    "diff",
    "print how nodes differ from the inventory; ends with 2 when they do",
    ("", "from the nodes to what is declared"),
    ("-l db-07 > change.diff", "for a change request"),
    ("--quiet || mail -s drift noc@example.com", "in a timer: 2 is drift, 3 and 4 are nodes that failed"),
)
@selection_options
@reach_options
@output_options
def command(selection: Selection, reach: Reach, output: Output) -> int:
    """Print a unified diff from what nodes have to what is declared; nothing else goes to stdout.

    The first folder of each path is the node, or the range of nodes that share the change. Executables differ by
    digest, live values by value. Ends with 2 when anything differs and every node answered.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.asking import Fleet, summary
        from cni_provision.cli.run.changing import propose
        from cni_provision.cli.run.jobs import applying
        from cni_provision.cli.run.selection import prepared

        inventory, everything = prepared(selection, emit)
        answers = propose(Fleet(reach, emit), "apply", applying(inventory, everything))
        return summary(answers, drift_is_no=True)

    return run("diff", output, work)
