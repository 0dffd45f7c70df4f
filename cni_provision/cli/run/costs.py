"""What a round cost this machine's processors, and a hint where most of it was `ssh`'s key exchange."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cni_provision.fleet import Job

FEWEST = 20  # nodes; with fewer nobody waits for it
DEAR = 0.04  # seconds of CPU a session; curve25519 takes about 0.015
POST_QUANTUM = "sntrup761"  # portable C in OpenSSH; `mlkem768x25519` of OpenSSH 9.9 is fast
PATIENCE = 10.0


@dataclass(frozen=True)
class Costs:
    """CPU seconds until now: of this process, and of its children that have ended."""

    own: float
    children: float

    @classmethod
    def now(cls) -> Costs:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime)

    def since(self, before: Costs) -> Costs:
        return Costs(self.own - before.own, self.children - before.children)


def is_dear(nodes: int, spent: Costs) -> bool:
    """Whether the sessions took most of the CPU, and enough of it to be noticed."""
    return nodes >= FEWEST and spent.children > spent.own and spent.children / nodes > DEAR


def hint(jobs: Sequence[Job], spent: Costs) -> str | None:
    """What would change it, for who may decide so; key exchange is never ours to set."""
    connections = [job.node.connection for job in jobs if job.node.connection.kind == "ssh"]
    if not is_dear(len(connections), spent):
        return None
    from cni_provision.transport.ssh import destination, login

    if not preferred((*login(connections[0]), *destination(connections[0]))).startswith(POST_QUANTUM):
        return None
    each = spent.children / len(connections) * 1000
    return (
        f"`ssh` took {each:.0f} ms of CPU a node, most of it for the post-quantum key exchange {POST_QUANTUM}; "
        "where that protection is not needed, `KexAlgorithms curve25519-sha256` for these hosts in ~/.ssh/config "
        "costs a fifth (so does `--mux` from the second run on, and OpenSSH 9.9 on both sides)"
    )


def preferred(words: Sequence[str]) -> str:
    """The key exchange that `ssh words…` offers first; empty where it does not say."""
    try:
        asked = subprocess.run(["ssh", "-G", *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    values = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)
    return values.get("kexalgorithms", "").split(",")[0]
