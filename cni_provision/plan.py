"""What must change so that a node becomes what is declared: pure functions over values.

Runs on the controller and, inside the node program, on the node: Python 3.9 and the standard library.
A key is `file:<path>`, `sysctl:<name>`, `module:<name>` or `unit:<name>`; a state is a `File`, a `Live`
or None (absent). Three properties hold for every state (tests/test_plan.py): planning again after
applying is empty; the inverses in reverse order restore the start; a file that is neither desired nor
owned never changes.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional, Union

DIRECTORY = "directory"
DIGEST_DIGITS = 64
HIDDEN = "sha256:"


@dataclass(frozen=True)
class File:
    """A regular file (digest = lower-case hex SHA-256 of its bytes) or a directory (digest = DIRECTORY).

    `label` is the SELinux context, kept as found where the inventory says nothing (None).
    `kind` orders and names it: plugin, conflist, service (an executable or unit file of systemd), file, directory.
    """

    path: str
    digest: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    kind: str = "file"
    label: Optional[str] = None

    @property
    def content(self) -> str:
        """The start of the digest, or what stands there instead of a file: `directory`, `symbolic link`."""
        return f"sha256:{self.digest[:12]}" if len(self.digest) == DIGEST_DIGITS else self.digest


@dataclass(frozen=True)
class Live:
    """A value in the running kernel or service manager: `kind` is sysctl, module or unit.

    A secret value is written as its digest everywhere (`hidden`); its bytes are kept like those of a file.
    """

    kind: str
    name: str
    value: str


State = Union[File, Live]


def hidden(text: str) -> str:
    """What stands for a secret value: `sha256:` and the digest of its bytes."""
    return HIDDEN + hashlib.sha256(text.encode()).hexdigest()


def is_hidden(state: Optional[State]) -> bool:
    return isinstance(state, Live) and state.value.startswith(HIDDEN)


def digest_behind(state: Optional[State]) -> Optional[str]:
    """The digest of the bytes that a state needs: a regular file's, or a secret value's."""
    if isinstance(state, File):
        return state.digest if len(state.digest) == DIGEST_DIGITS else None
    return state.value[len(HIDDEN) :] if state and is_hidden(state) else None


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
    def kind(self) -> str:
        """plugin, conflist, service, file, directory, sysctl, module or unit."""
        state = self.after or self.before
        return state.kind if state else "file"

    @property
    def inverse(self) -> Change:
        """The change that undoes this one."""
        return Change(self.key, self.after, self.before)


States = Mapping[str, State]
Returns = Mapping[str, Optional[State]]
"""What each owned key becomes when nobody desires it any more: a file None, a sysctl its value before us."""

ARRIVAL = {"directory": 0, "service": 1, "file": 2, "plugin": 3, "module": 4, "sysctl": 5, "conflist": 6, "unit": 12}
DEPARTURE = {"unit": 7, "conflist": 8, "plugin": 9, "file": 10, "service": 11, "directory": 13}
RELOADS = ARRIVAL["unit"]  # reloads come before this group: what begins anew needs none


def key_of(state: State) -> str:
    """The key under which a state stands."""
    return f"file:{state.path}" if isinstance(state, File) else f"{state.kind}:{state.name}"


def same(before: Optional[State], after: Optional[State]) -> bool:
    """Whether nothing must be done; a file's kind is ours alone, and no declared label keeps the one found."""
    if not isinstance(before, File) or not isinstance(after, File):
        return before == after
    label = before.label if after.label is None else after.label
    return replace(before, kind=after.kind) == replace(after, label=label)


def plan(desired: States, observed: States, owned: Returns) -> list[Change]:
    """The ordered changes from `observed` to `desired`; other owned keys return to what `owned` says."""
    wanted: dict[str, Optional[State]] = {**owned, **desired}
    changes = (Change(key, observed.get(key), after) for key, after in wanted.items())
    return order(change for change in changes if not _stays(change, desired, owned))


def _stays(change: Change, desired: States, owned: Returns) -> bool:
    """No module or sysctl is made absent, no live value restored where it is gone; a found directory stays."""
    if same(change.before, change.after):
        return True
    if isinstance(change.after or change.before, Live):
        if change.after is None:
            return change.kind != "unit"
        return change.before is None and change.key not in desired
    return _is_found_directory(change, owned)


def _is_found_directory(change: Change, owned: Collection[str]) -> bool:
    states = (change.before, change.after)
    both = all(isinstance(state, File) and state.digest == DIRECTORY for state in states)
    return both and change.key not in owned


def owned_after(desired: States, observed: States, owned: Collection[str]) -> list[str]:
    """The keys that are ours once the plan is applied: all desired ones but directories that were there before."""
    changes = (Change(key, observed.get(key), after) for key, after in desired.items())
    return sorted(change.key for change in changes if not _is_found_directory(change, owned))


def order(changes: Iterable[Change]) -> list[Change]:
    """The order of steps: plugins land before the conflists that name them, and leave after them.

    Kernel modules and sysctls come before conflists; new conflists come before old ones leave, so that
    a runtime always finds one. Units begin when all else is there, and end before anything leaves; the files of
    services, recovery's among them, are there all the while. Directories come first, parents before children,
    and leave last.
    """
    steps = sorted(changes, key=lambda change: (_narrowness(change.key), change.key))
    arriving = [change for change in steps if change.after is not None]
    departing = [change for change in reversed(steps) if change.after is None]
    return sorted(arriving + departing, key=group)


def _narrowness(key: str) -> int:
    """Sysctls that set others with them come first: forwarding, those of all interfaces, those of new ones."""
    name = key.replace("/", ".")
    wide = (name.endswith(".ip_forward"), ".conf.all." in name, ".conf.default." in name)
    return wide.index(True) if key.startswith("sysctl:") and any(wide) else len(wide)


def group(change: Change) -> int:
    """The number of the change's group; directories are made durable between groups."""
    ranks = DEPARTURE if change.after is None else ARRIVAL
    return ranks.get(change.kind, ranks["file"])


def undo(changes: Sequence[Change]) -> list[Change]:
    """The changes that restore the start, in the order in which they must be made."""
    return [change.inverse for change in reversed(changes)]


def apply_to(states: States, changes: Iterable[Change]) -> dict[str, State]:
    """The model of applying: what a node has after `changes`."""
    result = dict(states)
    for change in changes:
        if change.after is None:
            result.pop(change.key, None)
        else:
            result[change.key] = change.after
    return result


def ancestors(path: str) -> Iterator[str]:
    """Every directory above `path` except the root, the topmost first."""
    above = posixpath.dirname(path)
    if above not in ("/", "", path):
        yield from ancestors(above)
        yield above


def with_directories(desired: States, observed: States, owned: Collection[str]) -> dict[str, State]:
    """`desired` and each directory above its files that is missing or that we made earlier."""
    above = {
        f"file:{path}": path
        for state in desired.values()
        if isinstance(state, File)
        for path in ancestors(state.path)
    }
    made = {
        key: File(path, DIRECTORY, 0o755, kind="directory")
        for key, path in above.items()
        if key in owned or key not in observed
    }
    return {**made, **desired}


def not_ours(changes: Iterable[Change], ours: Collection[str]) -> list[Change]:
    """Changes that would touch a file that is there, is not among `ours` and has other bytes than desired."""
    return [change for change in changes if change.key not in ours and _replaces_other_bytes(change)]


def _replaces_other_bytes(change: Change) -> bool:
    if not isinstance(change.before, File):
        return False
    return not isinstance(change.after, File) or change.after.digest != change.before.digest


def contested(desired: States, others: Mapping[str, tuple[str, Optional[State]]]) -> dict[str, str]:
    """Desired key → the other owner that wants it too; directories, equal values and equal services can be shared."""
    found = {}
    for key, state in desired.items():
        owner, theirs = others.get(key, ("", None))
        shared = state == theirs and (isinstance(state, Live) or state.kind == "service")
        if owner and not shared and state.kind != "directory":
            found[key] = owner
    return found


def sorting_before(names: Iterable[str], ours: Collection[str]) -> list[str]:
    """Foreign conflist names that a runtime would load before the first of ours."""
    first = min(ours, default="")
    return sorted(name for name in names if name not in ours and name < first)
