"""Everything that can go wrong, as one tree, with the exit code of the process beside it (DESIGN: exit codes).

CniProvisionError                     1   ours
├── UserError                        65   something that the user wrote
│   ├── NoInventory                  64   the command line names none, and there is none where one is looked for
│   ├── Mistakes                     65   every mistake of one run, each with its place
│   └── NeedsAnsible                 65   the inventory uses what only Ansible can evaluate
├── LabFailed                         1   this machine cannot carry the lab: what is missing
├── Declined                          3   the prompt was answered with no
├── NodeError                         3   one node, the others go on
│   ├── Unreachable                   4   no session: the network, the SSH server, the host key, the login
│   ├── Denied                        3   a session, but no root: sudo, doas, password
│   ├── Conflict                      3   the node is not what the plan read
│   ├── Busy                          3   another run holds the node's lock
│   ├── TimedOut                      3   the node's deadline passed
│   └── NodeFailed                    3   the node said what went wrong
└── Interrupted                     130   Ctrl-C (143 for SIGTERM)

`cni_provision.cni` has its own `CNIError` (code, msg, details: what the specification prints), and
`cni_provision.net` raises `OSError` with the interface and the operation in its text: both stand alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Place:
    """Where something stands in a file: line and column count from 1, 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Diagnostic:
    """One mistake or warning: what is wrong, where, and how to mend it.

    `width` is the number of columns under which carets are drawn. `related` are further places with a
    note each (the other declaration of a duplicate, the template line that used a value). `hidden`: a secret stands
    in that very line of the file, so that the line is not shown.
    """

    message: str
    place: Place | None = None
    hint: str | None = None
    node: str | None = None
    width: int = 1
    severity: str = "error"  # "error" or "warning"
    related: tuple[tuple[Place, str], ...] = field(default=())
    hidden: bool = False


class CniProvisionError(Exception):
    """The root; raised itself only for a defect of ours."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(CniProvisionError):
    """Something that the user wrote cannot be used as it stands."""

    exit_code = 65

    def __init__(self, message: str, *, place: Place | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.place = place

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The mistake as diagnostics, for a view to draw."""
        return (Diagnostic(self.message, self.place, self.hint),)


class NoInventory(UserError):
    """None is named on the command line, by the environment or by `ansible.cfg`, and there is none in this folder."""

    exit_code = 64


class Mistakes(UserError):
    """Every mistake of one run, reported together."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        count = len(diagnostics)
        super().__init__(f"{count} mistake{'s' if count != 1 else ''} in the inventory")
        self._diagnostics = diagnostics

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self._diagnostics


class NeedsAnsible(UserError):
    """Values that only Ansible can evaluate (facts, most lookups and filters, inventory plugins, vault).

    `found` are all of them, where there are several.
    """

    def __init__(
        self,
        message: str,
        *,
        place: Place | None = None,
        hint: str | None = None,
        found: tuple[Diagnostic, ...] = (),
    ) -> None:
        super().__init__(message, place=place, hint=hint)
        self._found = found

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self._found or super().diagnostics


class LabFailed(CniProvisionError):
    """This machine cannot carry the lab: a program, a right or a feature of the kernel is missing."""


class Declined(CniProvisionError):
    """The prompt was answered with no; nothing was changed."""

    exit_code = 3


class NodeError(CniProvisionError):
    """One node's failure; `node` names it, the rest of the fleet goes on."""

    exit_code = 3
    reason = "failed"
    detail: str | None = None  # where on the node it was, for `--debug`

    def __init__(self, message: str, *, node: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.node = node


class Unreachable(NodeError):
    """There was no session: name, route, SSH server, host key or login."""

    exit_code = 4
    reason = "unreachable"


class Denied(NodeError):
    """There was a session, but it could not become root."""

    reason = "denied"


class Conflict(NodeError):
    """The node is not what the plan read, or another owner has the path; nothing was changed."""

    reason = "conflict"


class Busy(NodeError):
    """Another run holds the node's lock; the message says who and since when."""

    reason = "busy"


class TimedOut(NodeError):
    """The node's deadline passed; the node finishes or undoes by itself."""

    reason = "timed out"


class NodeFailed(NodeError):
    """The node program reported a failure; its transaction was undone."""


class NotStarted(NodeError):
    """The run ended before it came to this node, or before the node had all that it needs; nothing was changed."""

    reason = "not started"


class Interrupted(CniProvisionError):
    """A signal ended the run; steps that had begun were finished."""

    exit_code = 130
