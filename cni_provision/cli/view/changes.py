"""Changes and findings of many nodes as text: nodes with the same ones are shown once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from cni_provision.cli.view.names import fold, natural
from cni_provision.cli.view.paint import Paint
from cni_provision.cli.view.table import count
from cni_provision.events import ChangeApplied, Finding, PlannedChange

DIGEST = "sha256:"
SHOWN_DIGITS = 8
COMMON = ("0644", "0755", "0755 directory")  # modes that need no mention


Shown = PlannedChange | ChangeApplied | Finding


def text(events: Iterable[Shown], paint: Paint, *, context: bool) -> list[str]:
    """All nodes as lines, those of which the same is said together.

    `context` shows also the unchanged lines of diffs, and new files whole.
    """
    nodes: dict[str, list[Shown]] = {}
    for event in events:
        nodes.setdefault(event.node, []).append(event)
    groups: dict[tuple[str, ...], list[str]] = {}
    for node in sorted(nodes, key=natural):
        groups.setdefault(tuple(node_lines(nodes[node], paint, context=context)), []).append(node)
    lines: list[str] = []
    for said, names in groups.items():
        same = f"  ({count(len(names), 'node')}, same changes)" if len(names) > 1 else ""
        lines += [paint(fold(names), "bold") + paint(same, "dim"), *said]
    return lines


def node_lines(events: Sequence[Shown], paint: Paint, *, context: bool) -> list[str]:
    """What is said of one node: its changes, then its findings."""
    changes = [event for event in events if not isinstance(event, Finding)]
    lines = change_lines(changes, paint, context=context)
    for event in events:
        if isinstance(event, Finding):
            lines += finding_lines(event, paint)
    return lines


def change_lines(changes: Sequence[PlannedChange | ChangeApplied], paint: Paint, *, context: bool) -> list[str]:
    width = max((len(title(change.path)) for change in changes), default=0)
    lines = []
    for change in changes:
        said = values(change) if isinstance(change, PlannedChange) else ""
        lines.append(paint.signed(f"  {change.sign} {title(change.path).ljust(width)}  {said}".rstrip()))
        if isinstance(change, PlannedChange):
            lines += [paint.signed(f"      {part}") for part in diff_lines(change, context=context)]
    return lines


def title(path: str) -> str:
    """A path for files, `sysctl net.ipv4.ip_forward` for `sysctl:net.ipv4.ip_forward`."""
    return path if path.startswith("/") else path.replace(":", " ", 1)


def values(change: PlannedChange) -> str:
    """What it was and will be, as short as it can be said; a diff below says it better than digests."""
    before, after = (words(value) for value in (change.before, change.after))
    if change.sign == "-":
        return change.note or ""
    if change.sign == "+":
        told = (word for word in after if word not in COMMON and not (change.diff and word.startswith(DIGEST)))
        pair = " ".join(map(short, told))
    elif len(before) == 1 < len(after):  # a directory or link stands where a file shall be
        pair = f"{before[0]} -> {' '.join(map(short, after))}"
    else:
        pairs = [pair for pair in zip_longest(before, after, fillvalue="") if pair[0] != pair[1]]
        shown = [pair for pair in pairs if not (change.diff and pair[1].startswith(DIGEST))]
        pair = ", ".join(f"{short(old)} -> {short(new)}" for old, new in shown)
    return "  ".join(part for part in (change.note, pair) if part)


def words(value: str | None) -> list[str]:
    """Mode, owner and digest of a file; a live value is one word."""
    return (value or "").split(" ") if value and DIGEST in value else [value or ""]


def short(word: str) -> str:
    return word[: len(DIGEST) + SHOWN_DIGITS] + "…" if word.startswith(DIGEST) else word


def diff_lines(change: PlannedChange, *, context: bool) -> Iterator[str]:
    """The lines of a diff that differ; hunk headers tell nothing to people who see the file's name above."""
    if not change.diff or (change.sign != "~" and not context):
        return
    for line in body(change.diff):
        if line[:1] in "+-":
            yield f"{line[0]}  {line[1:]}"
        elif context and line[:1] == " ":
            yield f"   {line[1:]}"


def body(diff: str) -> list[str]:
    """A unified diff without its two header lines."""
    lines = diff.splitlines()
    return lines[2:] if lines[:1] and lines[0].startswith("--- ") else lines


def finding_lines(finding: Finding, paint: Paint) -> list[str]:
    lines = [paint.signed(f"  ! {finding.message}")]
    if finding.hint:
        lines.append(f"    {paint('hint:', 'cyan')} {finding.hint}")
    return lines
