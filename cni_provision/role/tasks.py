"""What a task of the role asks of a node, as the same job that the command line would send."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from cni_provision import prepare
from cni_provision.cli.run.jobs import Applying, applying, asking, returning, verifying
from cni_provision.errors import Diagnostic
from cni_provision.fleet_job import Job
from cni_provision.inventory.model import Inventory

PARTS = ("plugins", "conflists", "kernel", "verify")


@dataclass(frozen=True)
class Task:
    """A task: its verb (apply, verify, rollback, facts), and how.

    `only`: parts of the declarations, all if empty. `adopt`: files that may be taken over. `probe`: whether
    `verify` sends traffic; `repair`: whether it makes lost rules again. `generation`: where a rollback goes, None
    for the last that verified. `rollback`: whether an apply that does not verify is undone. `lock_timeout`: seconds.
    """

    verb: str
    only: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    generation: int | None = None
    probe: bool = True
    repair: bool = False
    rollback: bool = True
    force: bool = False
    lock_timeout: float = 0.0
    check_mode: bool = False


def parts(run_tags: Collection[str], skip_tags: Collection[str]) -> tuple[str, ...]:
    """The parts that a play's tags leave: those that `--tags` names, without those that `--skip-tags` does."""
    named = [part for part in PARTS if part in run_tags] or list(PARTS)
    left = tuple(part for part in named if part not in skip_tags)
    return () if left == PARTS else left


def check(inventory: Inventory) -> tuple[Diagnostic, ...]:
    """What is odd; everything that can be wrong before a node is asked is raised as `Mistakes`."""
    return (*inventory.warnings, *prepare.check(inventory))


def job(inventory: Inventory, task: Task) -> Job:
    """The question to the one node of `inventory`; raises `Mistakes`."""
    (asked,) = _jobs(inventory, task)
    request = replace(asked.request, force=task.force, lock_timeout=task.lock_timeout)
    if task.check_mode and asked.changes_the_node:
        request = replace(request, verb="plan", work={"of": task.verb})
    return replace(asked, request=request)


def _jobs(inventory: Inventory, task: Task) -> list[Job]:
    if task.verb == "apply":
        how = Applying(task.only, task.adopt, rollback=task.rollback)
        return applying(inventory, prepare.prepare(inventory), how)
    if task.verb == "verify":
        probe, repair = task.probe and not task.check_mode, task.repair and not task.check_mode
        return verifying(inventory, prepare.prepare(inventory), probe=probe, repair=repair)
    if task.verb == "rollback":
        return returning(inventory, task.generation)
    return [
        replace(job, request=replace(job.request, work={"contents": True})) for job in asking(inventory, "plugins")
    ]
