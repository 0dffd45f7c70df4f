"""A folder for programs that are made for one command."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cni_provision.errors import UserError


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """A folder that goes with the block; raises `UserError` where programs may not run from it."""
    with tempfile.TemporaryDirectory(prefix=f"cni-provision-{purpose}-") as folder:
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            raise UserError(
                f"{tempfile.gettempdir()} is mounted noexec, and plugins would run from there",
                hint="set TMPDIR to a folder from which programs may run",
            )
        yield Path(folder)
