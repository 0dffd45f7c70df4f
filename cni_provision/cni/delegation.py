"""The way to a delegate (IPAM) from a cold plugin: the executable in CNI_PATH."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from cni_provision.cni.outcome import Outcome


def execute(plugin_type: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
    """The delegate from CNI_PATH, as a child in our own process group: whoever ends us ends it too."""
    from cni_provision.cni import invoke

    path = environment.get("CNI_PATH", "").split(os.pathsep)
    outcome = invoke.execute(invoke.find(plugin_type, path), environment, stdin)
    sys.stderr.write(outcome.stderr)  # SPEC 4: also of one that failed
    return outcome
