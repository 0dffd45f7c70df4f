"""The closed list of things that can happen in a run; views consume them, commands never print.

Each event is one NDJSON object under `--json`: `{"v": 1, "event": NAME, ...fields}`. Fields are
JSON values only; a field that is None is left out. Adding a field is compatible, renaming one is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

FORMAT = 1


@dataclass(frozen=True)
class Event:
    """Base of all events; `name` is what `--json` prints as `event`."""

    name: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The event as a JSON object."""
        pairs = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {"v": FORMAT, "event": self.name} | {key: value for key, value in pairs if value is not None}


@dataclass(frozen=True)
class Version(Event):
    """First line of every stream."""

    name = "version"
    version: str
    command: str


@dataclass(frozen=True)
class Selected(Event):
    """The inventory was read: how many nodes and networks, and the digest of what was read."""

    name = "selected"
    nodes: int
    networks: int
    inventory: str
    source: str


@dataclass(frozen=True)
class DiagnosticFound(Event):
    """A mistake or a warning in what the user wrote; columns and lines count from 1."""

    name = "diagnostic"
    severity: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    width: int | None = None
    hint: str | None = None
    node: str | None = None
    related: Sequence[Mapping[str, Any]] | None = None
    hidden: bool | None = None  # the line itself holds a secret


@dataclass(frozen=True)
class Observed(Event):
    """A node answered: its generation, and how long the question took in seconds."""

    name = "observed"
    node: str
    generation: int
    seconds: float


@dataclass(frozen=True)
class PlannedChange(Event):
    """A difference between a node and the inventory. `sign` is `+`, `~` or `-`; `diff` is unified text."""

    name = "planned_change"
    node: str
    path: str
    sign: str
    kind: str  # "plugin", "conflist", "file", "directory", "sysctl", "module", "unit"
    before: str | None = None
    after: str | None = None
    diff: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Planned(Event):
    """Every asked node has answered or failed. `nodes` were asked; `added`, `updated` and `removed` count changes."""

    name = "planned"
    nodes: int
    changing: int
    unchanged: int = 0
    failed: int = 0
    unreachable: int = 0
    added: int = 0
    updated: int = 0
    removed: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Finding(Event):
    """Something on a node that the user should know of and that the run leaves alone."""

    name = "finding"
    node: str
    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class ApplyStart(Event):
    """A node's session has begun."""

    name = "apply_start"
    node: str


@dataclass(frozen=True)
class ChangeApplied(Event):
    """One change is done on the node."""

    name = "change_applied"
    node: str
    path: str
    sign: str


@dataclass(frozen=True)
class ApplyDone(Event):
    """A node is finished: its generation, how many changes, seconds; `rolled_back` after a failed check."""

    name = "apply_done"
    node: str
    generation: int
    changes: int
    seconds: float
    rolled_back: bool | None = None
    incomplete: bool | None = None


@dataclass(frozen=True)
class NodeFailed(Event):
    """A node could not be served. `reason`: unreachable, denied, conflict, busy, timed out, failed, not started.

    `detail` is where in the node program it was, which text shows with `--debug` only.
    """

    name = "node_failed"
    node: str
    reason: str
    message: str
    hint: str | None = None
    seconds: float | None = None
    detail: str | None = None


@dataclass(frozen=True)
class CheckResult(Event):
    """One check on one node; `outcome` is `pass`, `fail` or `skip`."""

    name = "check_result"
    node: str
    check: str
    outcome: str
    message: str | None = None
    network: str | None = None


@dataclass(frozen=True)
class MeshResult(Event):
    """One cell of the mesh: from a container on `node` to a target at `peer`."""

    name = "mesh_result"
    node: str
    peer: str
    network: str
    target: str  # "node", "port", "container"
    outcome: str
    milliseconds: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class NodeStatus(Event):
    """What a node has, by its own record: generation (0: none), by whom, when, how many changes it is away.

    `server`: the build of the warm plugin server that runs there; its counters are in `facts`.
    """

    name = "node_status"
    node: str
    generation: int
    by: str | None = None
    at: str | None = None
    inventory: str | None = None
    drift: int | None = None
    incomplete: bool | None = None
    server: str | None = None
    notes: Sequence[str] | None = None
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class PluginFound(Event):
    """An executable in a node's plugin folder; `versions` are those of the specification that it speaks."""

    name = "plugin"
    node: str
    plugin: str
    digest: str
    version: str | None = None
    versions: Sequence[str] | None = None
    owner: str | None = None
    message: str | None = None  # why it does not answer


@dataclass(frozen=True)
class Rendered(Event):
    """A file as it would land on a node; `file` says where it was written instead, when it was."""

    name = "rendered"
    node: str
    path: str
    text: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Executed(Event):
    """`exec --trace`: one run of a plugin. `depth`: 0 by us, 1 by one of those, and so on; `code` < 0: a signal."""

    name = "executed"
    command: str
    plugin: str
    depth: int
    code: int
    seconds: float
    stdin: str
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Text(Event):
    """Text that is the answer itself (a schema, a CNI result, a script); printed as it stands.

    `answer` is the same as a JSON value, where it has one.
    """

    name = "text"
    text: str
    answer: Any = None


@dataclass(frozen=True)
class Progress(Event):
    """A line of long work for people, with no other meaning."""

    name = "progress"
    message: str


@dataclass(frozen=True)
class Summary(Event):
    """Last line of every stream: counts, and the exit code of the process."""

    name = "summary"
    exit_code: int
    nodes: int
    changed: int = 0
    unchanged: int = 0
    failed: int = 0
    unreachable: int = 0
    not_started: int = 0
    added: int = 0
    updated: int = 0
    removed: int = 0
    next_command: str | None = None
    next_reason: str | None = None
    seconds: float | None = None
    notes: Sequence[str] = field(default=())


def from_json(plain: Mapping[str, Any]) -> Event:
    """The event that `to_json` wrote; raises `ValueError` for an unknown name, `TypeError` for unknown fields."""
    kinds = {kind.name: kind for kind in Event.__subclasses__()}
    kind = kinds.get(plain.get("event", ""))
    if kind is None or plain.get("v") != FORMAT:
        raise ValueError(f"not an event of format {FORMAT}: {plain.get('event')!r}")
    values = {key: value for key, value in plain.items() if key not in ("event", "v")}
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
