"""Running a command in a lab node without SSH, by its namespaces."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from cni_provision.lab.state import Lab

# what a login would give; the caller's environment stays outside
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": os.environ.get("TERM", "dumb"),
}


def command(lab: Lab, node: str, argv: Sequence[str]) -> tuple[str, ...]:
    """The command line that runs `argv` as root in `node`; raises `UserError` for an unknown node."""
    pid = str(lab.node(node).pid)
    spaces = ("--net", "--mount", "--pid", "--uts", "--ipc", "--root", "--wd")
    return ("/usr/bin/nsenter", "--target", pid, *spaces, "--", *argv)


def execute(lab: Lab, node: str, argv: Sequence[str]) -> int:
    """Run `argv` in `node` on this terminal; its exit code."""
    return subprocess.run(command(lab, node, argv), env=ENVIRONMENT, check=False).returncode
