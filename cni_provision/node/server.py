"""What the warm plugin server of this node tells about itself."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

FOLDER = "/run/cni-provision/server"
LARGEST = 1 << 16


def told() -> dict[str, Any]:
    """`runs`, and what it last wrote: `build`, `pid`, `started`, `requests` by verb, `cold` by reason …

    Empty where none was ever started here.
    """
    alive = f"{FOLDER}/alive"
    if not os.path.exists(alive):
        return {}
    return {**_counters(), "runs": _is_locked(alive)}


def _is_locked(path: str) -> bool:
    """Whether somebody holds it: the server does as long as it lives."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _counters() -> dict[str, Any]:
    try:
        with open(f"{FOLDER}/stat.json", "rb") as file:
            found = json.loads(file.read(LARGEST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
