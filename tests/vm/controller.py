"""What Molecule's tests do from here: scripts on machines, and the command line with the scenario's inventory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INVENTORY = Path(os.environ.get("CNI_PROVISION_INVENTORY", ""))
FOLDER = Path(os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY", ""))
SSH = ("ssh", "-F", str(FOLDER / "ssh_config"))


def on(node: str, script: str, *, given: bytes = b"") -> str:
    """What a script, which must succeed, prints on a machine."""
    done = subprocess.run([*SSH, node, script], input=given, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def command_line(verb: str, *words: str) -> str:
    """What `cni-provision`, which must succeed, prints."""
    argv = [sys.executable, "-m", "cni_provision", verb, "-i", str(INVENTORY), *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    return done.stdout
