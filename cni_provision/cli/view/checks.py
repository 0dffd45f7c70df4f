"""Check results and mesh cells as text: what failed in full, what passed as a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cni_provision.cli.view.names import fold
from cni_provision.cli.view.paint import Paint
from cni_provision.cli.view.table import count, listed, table
from cni_provision.events import CheckResult, MeshResult

LARGEST_MATRIX = 12
STYLES = {"pass": "green", "fail": "red", "skip": "yellow"}


def text(results: Iterable[CheckResult], paint: Paint, *, passed: bool) -> list[str]:
    """Per node, nodes with equal results together; `passed` shows also what passed and was skipped."""
    nodes: dict[str, list[CheckResult]] = {}
    for result in results:
        nodes.setdefault(result.node, []).append(result)
    groups: dict[tuple[str, ...], list[str]] = {}
    for node, found in nodes.items():
        groups.setdefault(tuple(node_lines(found, paint, passed=passed)), []).append(node)
    return [line for lines, names in groups.items() for line in (f"{fold(names)}  {lines[0]}", *lines[1:])]


def node_lines(results: Sequence[CheckResult], paint: Paint, *, passed: bool) -> list[str]:
    """`14 passed · 1 failed` and the results worth a line."""
    numbers = {outcome: sum(result.outcome == outcome for result in results) for outcome in STYLES}
    said = {"pass": "passed", "fail": "failed", "skip": "skipped"}
    head = listed(paint(f"{numbers[kind]} {said[kind]}", STYLES[kind]) for kind in STYLES if numbers[kind])
    shown = [result for result in results if passed or result.outcome == "fail"]
    return [head, *(result_line(result, paint) for result in shown)]


def result_line(result: CheckResult, paint: Paint) -> str:
    where = f" {result.network}" if result.network else ""
    message = ": " + result.message.strip().replace("\n", "\n        ") if result.message else ""
    return paint(f"  {result.outcome}", STYLES.get(result.outcome, "bold")) + f"  {result.check}{where}{message}"


def mesh(cells: Sequence[MeshResult], paint: Paint) -> list[str]:
    """A matrix for each network and kind of target (rows ask, columns answer), then what failed and why."""
    lines: list[str] = []
    for network, target in dict.fromkeys((cell.network, cell.target) for cell in cells):
        mine = [cell for cell in cells if (cell.network, cell.target) == (network, target)]
        lines += [paint(f"{network}: from a container on each node to {said(target)}", "bold"), *matrix(mine, paint)]
    return lines


def said(target: str) -> str:
    phrases = {
        "node": "every node",
        "port": "a mapped port on every node",
        "container": "a container on every node",
    }
    return phrases.get(target, target)


def matrix(cells: Sequence[MeshResult], paint: Paint) -> list[str]:
    nodes = list(dict.fromkeys(cell.node for cell in cells))
    peers = list(dict.fromkeys(name for cell in cells for name in (cell.node, cell.peer)))
    failed = [cell for cell in cells if cell.outcome == "fail"]
    why = [paint("  fail", "red") + f"  {cell.node} to {cell.peer}: {cell.message or 'no answer'}" for cell in failed]
    if len(peers) > LARGEST_MATRIX:
        return [f"  {len(cells) - len(failed)} of {count(len(cells), 'pair')} connected", *why]
    known = {(cell.node, cell.peer): cell for cell in cells}
    rows = [[node, *(cell_text(known.get((node, peer))) for peer in peers)] for node in nodes]
    return [*(f"  {line}" for line in table(["", *peers], rows)), *why]


def cell_text(cell: MeshResult | None) -> str:
    if cell is None:
        return "·"
    if cell.outcome != "pass":
        return cell.outcome.upper()
    return "ok" if cell.milliseconds is None else f"{cell.milliseconds:.1f} ms"
