"""What the node does about an interrupted run by itself: at boot, before the runtimes, without a controller."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone

from cni_provision.node import generation, lock, steps, transaction
from cni_provision.node.failure import Failure, of_system
from cni_provision.node.paths import SYSTEM_PATH
from cni_provision.node.protocol import NodeFinding

SECONDS = 60.0
BY = "cni-provision-recover.service"


def main() -> int:
    """Recover and say what was done, for the machine's journal; the exit code is 1 when something is left to do."""
    os.umask(0o077)
    os.environ["PATH"] = SYSTEM_PATH
    try:
        found = recover()
    except OSError as error:
        return _failed(of_system(error))
    except Failure as failure:
        return _failed(failure)
    for each in found:
        print(each.message)
    return 0


def recover() -> list[NodeFinding]:
    """Finish or undo what a dead run left; raises `Failure`, also when a run is at work here now."""
    with lock.held(BY, datetime.now(timezone.utc).isoformat(timespec="seconds"), SECONDS):
        found = transaction.recover()
        compile_plugins()
        return found


def compile_plugins() -> None:
    """Every owner's plugins for this Python; nothing is left where nobody has any."""
    from cni_provision.node import bytecode

    history = generation.history()
    owners = {each.owner for each in history.generations}
    states = (state for owner in owners for state in history.of(owner).states.values())
    executables = (steps.as_file(state) for state in states if state and state.kind == "plugin")
    bytecode.refresh({file.path: file.digest for file in executables if file})


def _failed(failure: Failure) -> int:
    print(f"{failure.message} ({failure.hint})" if failure.hint else failure.message, file=sys.stderr)
    return 1
