"""Our plugins, with the server and without, against a folder of reference plugins: the same calls in the same run.

    ./run bench plugins [--peer DIR] [--json] [--quick]

The engines alternate in each iteration, in namespaces that nobody else is in. Prints medians and ratios; in
brackets the ratios of the smallest samples, which say more on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.plugins import goals, measuring
from bench.plugins.driver import Samples
from bench.plugins.engines import GO, WARM
from bench.plugins.goals import LEASES, Measured
from bench.plugins.measuring import QUICK, Size

WORKS = {"singles": measuring.singles, "storm": measuring.storm, "leases": measuring.many_leases}
PARTS = (*WORKS, "packets", "memory", "endurance", "cold")
PACKET_RATIO = 1.1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", type=Path, default=Path("/usr/lib/cni"), help="a folder of reference plugins")
    options.add_argument("--json", action="store_true", help="all samples, as JSON")
    options.add_argument("--quick", action="store_true", help="whether it works at all; the figures mean nothing")
    options.add_argument("--only", choices=PARTS, help="a part of it")
    chosen = options.parse_args()
    size = QUICK if chosen.quick else Size()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        found = everything(Path(name), chosen.peer, size, chosen.only)
    print(json.dumps(as_json(found), indent=1) if chosen.json else "\n".join(as_text(found, size)))


def everything(folder: Path, peer: Path, size: Size, only: str | None) -> dict[str, Any]:
    measured: dict[tuple[str, str, str], Samples] = {}
    found: dict[str, Any] = {"measured": measured, "memory": {}, "packets": {}, "cold": {}, "load": []}
    with measuring.bench(folder, peer, size) as run:
        for part, function in (
            ("singles", measuring.singles),
            ("storm", measuring.storm),
            ("leases", measuring.many_leases),
        ):
            if only in (None, part):
                found["load"].append(os.getloadavg()[0])
                measured.update({(work, one.phase, one.lane): one for work, one in function(run)})
        if only in (None, "memory"):
            found["memory"] = measuring.memory(run)
        if only == "endurance":  # minutes
            found["memory"] = measuring.endurance(run)
        if only in (None, "packets"):
            found["packets"] = measuring.first_packets(run, folder)
        if only in (None, "cold"):
            found["cold"] = measuring.cold_start(run, folder)
    return found


def as_json(found: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {"work": work, "verb": verb, "engine": engine, "seconds": one.seconds, "kilobytes": one.kilobytes}
        for (work, verb, engine), one in found["measured"].items()
    ]
    return {**found, "measured": rows}


def as_text(found: Mapping[str, Any], size: Size) -> Iterator[str]:
    measured: Measured = found["measured"]
    numbers = {"pods": size.pods, "workers": size.workers, "taken": size.leases}
    for line in goals.table(measured):
        yield line.format(**numbers)
    yield ""
    yield from leases(measured, size)
    yield from packet_lines(found["packets"])
    for engine, kilobytes in found["memory"].items():
        yield f"memory, {engine}: {kilobytes / 1024:.1f} MiB"
    for step, milliseconds in found["cold"].items():
        yield f"cold start: {step}: {milliseconds:.1f} ms"
    yield f"load of the machine before each part: {', '.join(f'{load:.1f}' for load in found['load'])}"


def leases(measured: Measured, size: Size) -> Iterator[str]:
    for name in (WARM, GO):
        for verb in ("ADD", "DEL"):
            keys = [(LEASES, verb, f"{name}-{taken}") for taken in (0, size.leases)]
            if keys[0] in measured:
                none, many = (measured[key] for key in keys)
                ratio, least = many.median / none.median, many.least / none.least
                goal = verdict(ratio, goals.OWN_RATIO) if name == WARM else ""
                times = f"{none.median * 1000:.2f} → {many.median * 1000:.2f} ms"
                yield f"host-local {verb}, {size.leases} leases, {name}: {times}, {ratio:.2f} ({least:.2f}) {goal}"


def packet_lines(found: Mapping[str, list[float]]) -> Iterator[str]:
    """One line for each engine: few mappings, many mappings, microseconds."""
    for name, (few, many) in found.items():
        goal = verdict(many / few, PACKET_RATIO) if name == WARM else ""
        yield f"first packet, few → many mappings, {name}: {few:.1f} → {many:.1f} µs, {many / few:.2f} {goal}"


def verdict(ratio: float, goal: float) -> str:
    return f"(goal ≤ {goal:g}: {'met' if ratio <= goal else 'MISSED'})"


if __name__ == "__main__":
    main()
