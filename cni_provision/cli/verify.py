"""`verify`: prove that nodes work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from cni_provision.cli.options import Output, Reach, Selection, output_options, reach_options, selection_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import MeshResult, Summary

if TYPE_CHECKING:
    from cni_provision.cli.run.asking import Answers, Fleet
    from cni_provision.fleet import Job


@define(
    "verify",
    "check nodes and send traffic through throwaway containers",
    ("", "every check and the probe on each node"),
    ("--mesh", "and from a container on each node to every other node"),
    ("--repair", "after somebody's `nft flush ruleset`: rules come back first"),
    ("--no-probe -v", "files, versions and prerequisites only, each with its result"),
)
@click.option("--mesh", is_flag=True, help="Send traffic between nodes too, and print the matrix.")
@click.option("--no-probe", is_flag=True, help="Attach no throwaway containers.")
@click.option("--repair", is_flag=True, help="First make again the nftables rules of what is attached.")
@selection_options
@reach_options
@output_options
def command(mesh: bool, no_probe: bool, repair: bool, selection: Selection, reach: Reach, output: Output) -> int:
    """Check on each node that what is declared is there and works.

    Digests, prerequisites, what plugins answer to VERSION and STATUS, and a probe: throwaway containers are attached,
    traffic flows between them, to the gateway and through a mapped port, and nothing is left behind. Ends with 2 when
    a check fails and every node answered.

    With `--repair`, tables, chains, maps and their entries that somebody flushed are made again first, from what each
    node has noted about its attached containers; every table that had lost something is told.
    """

    def work(emit: Emit) -> Summary:
        from cni_provision.cli.run.asking import Fleet, summary
        from cni_provision.cli.run.jobs import verifying
        from cni_provision.cli.run.selection import prepared

        inventory, everything = prepared(selection, emit)
        fleet, jobs = Fleet(reach, emit), verifying(inventory, everything, probe=not no_probe, repair=repair)
        answers = fleet.ask(jobs)
        total = summary(answers)
        return with_mesh(total, fleet, jobs, answers) if mesh and not answers.interrupted else total

    return run("verify", output, work)


def with_mesh(total: Summary, fleet: Fleet, jobs: list[Job], answers: Answers) -> Summary:
    """The sum after the mesh between the nodes that answered."""
    import asyncio

    from cni_provision import mesh
    from cni_provision.cli.exit_codes import Exit, decide

    present = {outcome.node.name for outcome in answers.answered}
    attaching = [
        replace(job, request=replace(job.request, verb="attach")) for job in jobs if job.node.name in present
    ]
    results = asyncio.run(mesh.run(attaching, fleet.options, fleet.emit))
    lost = sum(not isinstance(result, MeshResult) for result in results)
    broken = any(isinstance(result, MeshResult) and result.outcome == "fail" for result in results)
    codes = [total.exit_code, Exit.NODES_FAILED if lost else Exit.YES, Exit.NO if broken else Exit.YES]
    return replace(total, exit_code=decide(codes), failed=total.failed + lost)
