"""What the figures shall be, as ratios to the reference in the same run, and whether they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.plugins.driver import Samples
from bench.plugins.engines import COLD, FLOOR, GO, WARM

Measured = Mapping[tuple[str, str, str], Samples]  # (work, verb, engine)
PLAIN, MASQUERADED = "bridge + host-local", "bridge + host-local + ipMasq"
LOOPBACK, NONE = "loopback", "no work"
STORM = "storm of {pods} pods, {workers} at a time, bridge (ipMasq) + portmap"
LEASES = "host-local with {taken} leases"


@dataclass(frozen=True)
class Goal:
    """`warm` and `cold`: the largest ratio to the reference; `over_floor`: or so many seconds above the floor."""

    work: str
    verb: str
    warm: float | None = None
    cold: float | None = None
    over_floor: float = 0.0


GOALS = (
    Goal(PLAIN, "ADD", 0.30, 5),
    Goal(PLAIN, "CHECK", 0.35, 6),
    Goal(PLAIN, "DEL", 0.75, 2.5, over_floor=0.003),
    Goal(MASQUERADED, "ADD", 0.15, 2),
    Goal(MASQUERADED, "DEL", 0.30, 0.9, over_floor=0.004),
    Goal(LOOPBACK, "ADD", 0.35),
    Goal(NONE, "VERSION", 0.4),
    Goal(STORM, "ADD", 0.15),
    Goal(STORM, "DEL", 0.06),
)
OWN_RATIO = 1.2  # with many leases against none


@dataclass(frozen=True)
class Verdict:
    """One engine of ours beside the reference; `least` is the ratio of the smallest samples; milliseconds."""

    engine: str
    ratio: float
    least: float
    goal: str
    met: bool | None


def verdict(goal: Goal, measured: Measured, engine: str) -> Verdict:
    ours, theirs = (measured[goal.work, goal.verb, name] for name in (engine, GO))
    wanted = goal.warm if engine == WARM else goal.cold
    ratio, least = ours.median / theirs.median, ours.least / theirs.least
    if wanted is None:
        return Verdict(engine, ratio, least, "", None)
    allowed, words = wanted * theirs.median, f"≤ {wanted:g}"
    floor = measured.get((goal.work, goal.verb, FLOOR))
    if engine == WARM and goal.over_floor and floor:
        allowed = max(allowed, floor.median + goal.over_floor)
        words += f" or floor + {goal.over_floor * 1000:g} ms"
    return Verdict(engine, ratio, least, words, ours.median <= allowed)


def table(measured: Measured) -> Iterator[str]:
    """Markdown: milliseconds are medians; in brackets ratios of the smallest samples."""
    rows = [goal for goal in GOALS if (goal.work, goal.verb, GO) in measured]
    if rows:
        yield "| work | warm ms | cold ms | Go ms | floor ms | warm / Go | goal | cold / Go | goal |"
        yield "|---|---|---|---|---|---|---|---|---|"
    for goal in rows:
        found = [measured.get((goal.work, goal.verb, name)) for name in (WARM, COLD, GO, FLOOR)]
        cells = [f"{one.median * 1000:.2f}" if one else "" for one in found]
        for name in (WARM, COLD):
            cells += judged(verdict(goal, measured, name)) if (goal.work, goal.verb, name) in measured else ["", ""]
        yield f"| {goal.work}, {goal.verb} | {' | '.join(cells)} |"


def judged(one: Verdict) -> Sequence[str]:
    word = "" if one.met is None else f"{one.goal}: {'met' if one.met else 'MISSED'}"
    return f"{one.ratio:.2f} ({one.least:.2f})", word
