"""One job per node for each kind of run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cni_provision.cli.run.requests import about, declaring, origin
from cni_provision.cli.run.verification import verification
from cni_provision.fleet import Job

if TYPE_CHECKING:
    from cni_provision.desired import Desired
    from cni_provision.inventory.model import Inventory
    from cni_provision.node.protocol import Request
    from cni_provision.prepare import Prepared


@dataclass(frozen=True)
class Applying:
    """How to apply. `only`: parts (plugins, conflists, kernel, verify), empty means everything."""

    only: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    verify: bool = True
    rollback: bool = True

    @property
    def verifies(self) -> bool:
        """A part alone is not verified unless that is asked for: what belongs to it may be missing."""
        return self.verify and (not self.only or "verify" in self.only)


EVERYTHING = Applying()


def applying(inventory: Inventory, everything: Prepared, how: Applying = EVERYTHING) -> list[Job]:
    """Bring every node to what is declared."""
    run = origin(inventory)
    return [
        Job(desired.node, with_how(declaring(desired, "apply", run), desired, how), everything.blobs)
        for desired in everything.desired
    ]


def with_how(request: Request, desired: Desired, how: Applying) -> Request:
    verifies = how.verifies and desired.node.declarations.verify.enabled
    return replace(
        request,
        only=how.only,
        adopt=(*request.adopt, *how.adopt),
        verify=verification(desired) if verifies and desired.node.declarations.state == "present" else None,
        rollback_on_failure=how.rollback,
    )


def verifying(inventory: Inventory, everything: Prepared, *, probe: bool, repair: bool = False) -> list[Job]:
    """Check every node; nothing is changed, but with `repair` the rules of what is attached are made again first."""
    run, work = origin(inventory), {"repair": True} if repair else {}
    return [
        Job(desired.node, replace(request, verify=verification(desired, probe=probe), work={**request.work, **work}))
        for desired in everything.desired
        for request in [about(desired.node, "verify", run)]
    ]


def returning(inventory: Inventory, generation: int | None) -> list[Job]:
    """Bring every node back to a generation; None is the last that verified."""
    jobs = asking(inventory, "rollback")
    return [replace(job, request=replace(job.request, generation=generation)) for job in jobs]


def asking(inventory: Inventory, verb: str) -> list[Job]:
    """Ask every node about what it has."""
    run = origin(inventory)
    return [Job(node, about(node, verb, run)) for node in inventory.nodes]
