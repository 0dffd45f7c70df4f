"""The nodes that a run did not finish, one a line, for `--limit @FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def file_for(inventory: str) -> Path:
    """Beside the inventory: `hosts.yaml.retry`, `inventory.retry`."""
    path = Path(inventory)
    return path.absolute().with_name(f"{path.absolute().name}.retry")


def write(inventory: str, nodes: Sequence[str]) -> Path | None:
    """The file that was written; None where that is not possible, which must not fail a run that is over."""
    file = file_for(inventory)
    try:
        file.write_text("".join(f"{node}\n" for node in nodes), encoding="utf-8")
    except OSError:
        return None
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
