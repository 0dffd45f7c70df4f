"""`apply`: what is said of files that it was told to take over."""

from __future__ import annotations

import pytest

from cni_provision.cli.apply import Adopting, adopted
from cni_provision.events import ApplyDone, ChangeApplied, Event, PlannedChange

FOLDER = "/etc/cni/net.d"


@pytest.mark.parametrize(
    ("event", "pattern", "met"),
    [
        (PlannedChange("a", f"{FOLDER}/10-pods.conflist", "~", "conflist"), "10-*", True),
        (ChangeApplied("a", f"{FOLDER}/10-pods.conflist", "~"), "10-pods.conflist", True),
        (ChangeApplied("a", "/etc/sysctl.d/90-x.conf", "~"), "/etc/sysctl.d/*", True),
        (ChangeApplied("a", f"{FOLDER}/10-pods.conflist", "+"), "10-*", False),
        (ChangeApplied("a", "/opt/cni/bin/10-pods.conflist", "~"), "10-*", False),
        (ApplyDone("a", 1, 0, 0.1), "10-*", False),
    ],
)
def test_a_pattern_meets_a_file_that_was_there(event: Event, pattern: str, met: bool) -> None:
    seen: list[Event] = []
    watched = Adopting(seen.append, [adopted(pattern, FOLDER)])
    watched.emit(event)
    assert bool(watched.met) is met
    assert watched.answered is isinstance(event, ApplyDone)
    assert seen == [event]
