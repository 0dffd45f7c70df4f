"""The benchmark of the plugins runs from end to end. Nothing is said about the figures: other tests run beside it."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("/usr/lib/cni")
ENGINES = {"warm", "cold", "go", "floor"}

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces: needs root"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="compiles its driver: needs gcc"),
    pytest.mark.skipif(not (REFERENCE / "bridge").exists(), reason=f"no reference plugins in {REFERENCE}"),
]


def test_every_work_is_measured_by_every_engine() -> None:
    argv = [sys.executable, "-m", "bench.plugins", "--quick", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    by_work: dict[tuple[str, str], set[str]] = {}
    for row in told["measured"]:
        by_work.setdefault((row["work"], row["verb"]), set()).add(row["engine"])
        assert row["seconds"]
        assert all(math.isfinite(value) and value > 0 for value in row["seconds"])
    assert by_work["bridge + host-local", "ADD"] == ENGINES
    assert {"warm", "go", "server"} <= told["memory"].keys()
    assert all(few > 0 and many > 0 for few, many in told["packets"].values())
