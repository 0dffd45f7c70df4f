"""Where the time of a start without a server goes: each step does what the one before it does, and more."""

from __future__ import annotations

from pathlib import Path

from bench.plugins import driver
from bench.plugins.driver import Lane, Phase, Step
from bench.plugins.engines import COLD, PYTHON, Engine
from bench.plugins.hosts import Host
from bench.plugins.works import version

HEAD = f"#!{PYTHON} -IS\n"
# what tests/plugins/test_cold.py lets a plugin import, and what its sources name beside
STANDARD = "import _json, _socket, collections.abc, contextlib, errno, fcntl, gc, ipaddress, math, select, struct\n"
TYPES = "import dataclasses, typing\n"
SCRIPTS = {
    "Python starts and ends": HEAD,
    "… with the standard library's modules": HEAD + STANDARD,
    "… with `dataclasses` and `typing`, which bytecode does without": HEAD + STANDARD + TYPES,
}
WHOLE = "… as the executable does it (bridge, VERSION)"


def breakdown(program: Path, host: Host, folder: Path, cold: Engine, iterations: int) -> dict[str, float]:
    """Milliseconds (medians), alternating; steps in the order of what they add."""
    assert cold.name == COLD
    lanes = [_lane(folder / f"start-{number}", *pair) for number, pair in enumerate(SCRIPTS.items())]
    lanes.append(Lane(WHOLE, version(cold, "").phases))
    found = driver.measure(program, host, lanes, iterations, warm_up=2)
    return {one.lane: one.median * 1000 for one in found}


def _lane(file: Path, name: str, script: str) -> Lane:
    file.write_text(script)
    file.chmod(0o755)
    return Lane(name, (Phase("start", (Step(str(file)),)),))
