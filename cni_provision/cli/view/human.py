"""The view for people: answers on stdout, talk on stderr, the sum last, and one live line on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import singledispatchmethod

from cni_provision.cli.view import changes, checks, records, sentence, tally, trace, unified
from cni_provision.cli.view.diagnostic import ReadLine, draw, line_of
from cni_provision.cli.view.paper import LiveLine, Paper, harmless
from cni_provision.cli.view.table import listed
from cni_provision.events import (
    ApplyDone,
    ApplyStart,
    ChangeApplied,
    CheckResult,
    DiagnosticFound,
    Event,
    Executed,
    Finding,
    MeshResult,
    NodeFailed,
    NodeStatus,
    Observed,
    Planned,
    PlannedChange,
    PluginFound,
    Progress,
    Rendered,
    Selected,
    Summary,
    Text,
    Version,
)

QUIET, VERBOSE = -1, 1
# commands whose stdout has a format of its own: the sum goes to stderr
FORMATTED = ("diff", "render", "schema", "completion", "exec", "lab")


@dataclass
class Seen:
    """What has happened and is drawn later, when it can be grouped."""

    selected: Selected | None = None
    planned: Planned | None = None
    changes: list[changes.Shown] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    cells: list[MeshResult] = field(default_factory=list)
    statuses: list[NodeStatus] = field(default_factory=list)
    plugins: list[PluginFound] = field(default_factory=list)
    tally: tally.Tally = field(default_factory=tally.Tally)
    asked: int = 0
    answered: int = 0
    errors: int = 0
    warnings: int = 0
    rendered: int = 0


@dataclass
class Human:
    """`live` is None where stderr is no terminal: then each finished node has a line of its own."""

    out: Paper
    err: Paper
    verbosity: int = 0
    live: LiveLine | None = None
    read_line: ReadLine = line_of
    debug: bool = False
    command: str = ""
    seen: Seen = field(default_factory=Seen)

    def emit(self, event: Event) -> None:
        """Draw one event, now or when its group is complete."""
        self.on(cleaned(event))

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.live:
            self.live.clear()

    @singledispatchmethod
    def on(self, event: Event) -> None:
        """An event that says nothing to people."""

    @on.register(Version)
    def _(self, event: Version) -> None:
        self.command = event.command

    @on.register(Selected)
    def _(self, event: Selected) -> None:
        self.seen.selected = event
        self.seen.asked = event.nodes

    @on.register(DiagnosticFound)
    def _(self, event: DiagnosticFound) -> None:
        if event.severity == "warning":
            self.seen.warnings += 1
        else:
            self.seen.errors += 1
        if event.severity != "warning" or self.verbosity > QUIET:
            self.talk([*draw(event, self.read_line, self.err.paint), ""])

    @on.register(Progress)
    def _(self, event: Progress) -> None:
        if self.verbosity > QUIET:
            self.talk([event.message])

    @on.register(Observed)
    def _(self, event: Observed) -> None:
        self.seen.answered += 1
        self.redraw(event.node)

    @on.register(PlannedChange)
    @on.register(Finding)
    def _(self, event: PlannedChange | Finding) -> None:
        self.seen.changes.append(event)

    @on.register(Planned)
    def _(self, event: Planned) -> None:
        self.seen.planned = event
        self.seen.answered = 0
        self.clear()
        self.header(sentence.selected(self.seen.selected, event) if self.seen.selected else "")
        if self.command == "diff":
            self.draw_diff()
            return
        self.draw_changes()
        if self.command == "plan":
            self.draw_failures()
        self.answer([sentence.planned(event, self.seen.tally.failed)])
        self.seen.asked = event.nodes - event.failed - event.unreachable

    @on.register(ApplyStart)
    def _(self, event: ApplyStart) -> None:
        self.redraw(event.node)

    @on.register(ChangeApplied)
    def _(self, event: ChangeApplied) -> None:
        self.redraw(event.node)
        if self.seen.planned is None:
            self.seen.changes.append(event)

    @on.register(ApplyDone)
    def _(self, event: ApplyDone) -> None:
        self.seen.tally.done.append(event)
        self.finished(event)

    @on.register(NodeFailed)
    def _(self, event: NodeFailed) -> None:
        self.seen.tally.failed.append(event)
        self.finished(event)
        if self.debug and event.detail:
            self.talk([f"{event.node}:", *event.detail.splitlines()])

    @on.register(CheckResult)
    def _(self, event: CheckResult) -> None:
        self.seen.checks.append(event)

    @on.register(MeshResult)
    def _(self, event: MeshResult) -> None:
        self.seen.cells.append(event)

    @on.register(NodeStatus)
    def _(self, event: NodeStatus) -> None:
        self.seen.statuses.append(event)

    @on.register(PluginFound)
    def _(self, event: PluginFound) -> None:
        self.seen.plugins.append(event)

    @on.register(Rendered)
    def _(self, event: Rendered) -> None:
        self.seen.rendered += 1
        if event.file:
            self.talk([event.file])
        elif event.text is not None:
            space = "" if self.seen.rendered == 1 else "\n"
            self.answer([self.out.paint(f"{space}==> {event.node} {event.path} <==", "bold")])
            self.out.write(event.text)

    @on.register(Executed)
    def _(self, event: Executed) -> None:
        self.talk(trace.text(event, self.err.paint))

    @on.register(Text)
    def _(self, event: Text) -> None:
        self.clear()
        self.out.write(event.text)

    @on.register(Summary)
    def _(self, event: Summary) -> None:
        self.clear()
        self.draw_changes()
        self.draw_records()
        if self.command != "plan" or self.seen.planned is None:
            self.draw_failures()
        self.talk(f"note: {note}" for note in event.notes)
        self.draw_sum(event)
        if event.next_command and self.verbosity > QUIET:
            self.talk([f"Run {self.err.paint(f'`{event.next_command}`', 'green')}{reason(event)}"])

    def draw_changes(self) -> None:
        """The groups that have not been drawn yet."""
        pending, self.seen.changes = self.seen.changes, []
        self.answer(changes.text(pending, self.paper.paint, context=self.verbosity >= VERBOSE))

    def draw_diff(self) -> None:
        """Stdout holds nothing but the diff; findings are talk."""
        pending, self.seen.changes = self.seen.changes, []
        planned = [event for event in pending if isinstance(event, PlannedChange)]
        findings = [event for event in pending if isinstance(event, Finding)]
        self.out.lines(unified.text(planned, self.out.paint))
        self.talk(changes.text(findings, self.err.paint, context=False))

    def draw_records(self) -> None:
        """Everything else that was asked for: checks, matrix, status, plugins."""
        paint, passed = self.paper.paint, self.verbosity >= VERBOSE
        self.answer(checks.text(self.seen.checks, paint, passed=passed))
        self.answer(checks.mesh(self.seen.cells, paint))
        self.answer(records.statuses(self.seen.statuses))
        if self.verbosity >= VERBOSE:
            self.answer(records.servers(self.seen.statuses))
        self.answer(records.plugins(self.seen.plugins))

    def draw_failures(self) -> None:
        """The table of failed nodes, with the cause and the cure of each."""
        self.answer(tally.failures(self.seen.tally))

    def draw_sum(self, event: Summary) -> None:
        line = self.sum(event)
        if self.seen.errors and (self.seen.errors > 1 or self.command == "validate"):
            self.talk([line])
        elif line and not self.seen.errors and (self.verbosity > QUIET or event.exit_code):
            self.answer([line])

    def sum(self, event: Summary) -> str:
        """The sentence of the command that ran; a command that could not begin counts its errors."""
        seen = self.seen
        if seen.errors or self.command == "validate":
            return sentence.validated(seen.selected, seen.errors, seen.warnings)
        if self.command == "plan":
            return ""
        if self.command == "diff":
            return sentence.differing(seen.planned, seen.tally.failed) if seen.planned else ""
        if self.command == "verify":
            return sentence.verified(seen.checks, seen.cells, seen.tally.failed)
        if self.command in ("apply", "rollback", "remove"):
            return sentence.applied(event, seen.tally.failed, seen.tally.rolled_back)
        return listed(sentence.failure_parts(seen.tally.failed))

    @property
    def paper(self) -> Paper:
        """Where answers of this command go."""
        return self.err if self.command.split(" ")[0] in FORMATTED else self.out

    def answer(self, lines: Iterable[str]) -> None:
        self.clear()
        self.paper.lines(lines)

    def header(self, line: str) -> None:
        if line and self.verbosity > QUIET:
            self.answer([self.paper.paint(line, "dim")])

    def talk(self, lines: Iterable[str]) -> None:
        self.clear()
        self.err.lines(lines)

    def clear(self) -> None:
        if self.live:
            self.live.clear()

    def finished(self, event: ApplyDone | NodeFailed) -> None:
        """A line for a log, or the live line moves on."""
        self.seen.answered += 1
        if self.live is None and self.verbosity > QUIET:
            self.talk([tally.finished_line(event)])
        self.redraw(event.node)

    def redraw(self, node: str) -> None:
        if self.live is None or self.verbosity == QUIET:
            return
        failed = f"{self.seen.tally.failures} failed" if self.seen.tally.failures else ""
        self.live.draw(listed((f"{self.command} {self.seen.answered}/{self.seen.asked}", failed, node)))


def reason(event: Summary) -> str:
    """Why the next command is worth running."""
    return f" {event.next_reason}" if event.next_reason else ""


def cleaned(event: Event) -> Event:
    """The event with text from elsewhere made harmless for a terminal; what is data is left exactly as it is."""
    if isinstance(event, Text | Rendered | Executed):  # `trace` cleans what it has decoded
        return event
    texts = {item.name: getattr(event, item.name) for item in fields(event)}
    dirty = {name: harmless(text) for name, text in texts.items() if isinstance(text, str) and harmless(text) != text}
    return replace(event, **dirty) if dirty else event
