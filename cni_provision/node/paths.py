"""Where the node program keeps its own state (one folder, root's alone), and where it finds the system's tools."""

from __future__ import annotations

import os

STATE = "/var/lib/cni-provision"
LOCK = f"{STATE}/lock"
BLOBS = f"{STATE}/blobs"
TRANSACTIONS = f"{STATE}/txn"
GENERATIONS = f"{STATE}/generations"
PYTHON = f"{STATE}/python"
BYTECODE = f"{STATE}/bytecode"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def staging(path: str) -> str:
    """The name beside `path` under which its next bytes wait; libcni loads dotfiles too, but only by their ending."""
    folder, name = os.path.split(path)
    return f"{folder}/.cnip-{name}.tmp"
