"""What must change so that a node becomes what is declared: pure functions over values.

Runs on the controller and, inside the node program, on the node: Python 3.9 and the standard library.
A key is `file:<path>`, `sysctl:<name>`, `module:<name>` or `unit:<name>`; a state is a `File`, a `Live`
or None (absent). Three properties hold for every state (tests/test_plan.py): planning again after
applying is empty; the inverses in reverse order restore the start; a file that is neither desired nor
owned never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union

DIRECTORY = "directory"


@dataclass(frozen=True)
class File:
    """A regular file (digest = lower-case hex SHA-256 of its bytes) or a directory (digest = DIRECTORY).

    `label` is the SELinux context, kept as found where the inventory says nothing (None).
    `kind` orders and names it: plugin, conflist, file, directory.
    """

    path: str
    digest: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    kind: str = "file"
    label: Optional[str] = None


@dataclass(frozen=True)
class Live:
    """A value in the running kernel or service manager: `kind` is sysctl, module or unit."""

    kind: str
    name: str
    value: str


State = Union[File, Live]


@dataclass(frozen=True)
class Change:
    """From one state of a key to another; None is absence. The inverse swaps the two."""

    key: str
    before: Optional[State]
    after: Optional[State]

    @property
    def sign(self) -> str:
        """`+` added, `-` removed, `~` changed."""
        if self.before is None:
            return "+"
        return "-" if self.after is None else "~"

    @property
    def inverse(self) -> Change:
        """The change that undoes this one."""
        return Change(self.key, self.after, self.before)


States = Mapping[str, State]
