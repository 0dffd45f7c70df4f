"""The first packet of a connection through few and through many port mappings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.plugins.measuring import Bench


def measure(run: Bench, folder: Path) -> Mapping[str, list[float]]:
    """Microseconds (medians) by engine: with few mappings, with many."""
    return {}
