"""One change carried out: its bytes staged beside the target, checked, and made visible by a rename."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Optional

from cni_provision.node import blobs, files, live, paths
from cni_provision.node.failure import Failure
from cni_provision.plan import DIRECTORY, Change, File, Live, State, is_hidden, same


def as_file(state: Optional[State]) -> Optional[File]:
    """The state if it is a regular file: something with bytes."""
    return state if isinstance(state, File) and state.digest != DIRECTORY else None


def as_directory(state: Optional[State]) -> Optional[File]:
    return state if isinstance(state, File) and state.digest == DIRECTORY else None


def keep(change: Change) -> dict[str, str]:
    """Keep the bytes of a file that will be replaced or removed, and those of a secret value; a file's attributes."""
    if is_hidden(change.before):
        live.keep(change.before)  # type: ignore[arg-type]
    before = as_file(change.before)
    if before is None:
        return {}
    blobs.keep(before.path, before.digest)
    return files.attributes(before.path)


def stage(change: Change, attributes: dict[str, str]) -> None:
    """Write what `change` brings beside its target; a directory that is missing is made at once."""
    directory, file = as_directory(change.after), as_file(change.after)
    if directory and change.before is None:
        _make_directory(directory)
    elif file:
        _write_staged(file, attributes)


def _make_directory(directory: File) -> None:
    os.makedirs(directory.path, mode=0o700, exist_ok=True)
    _own(directory)
    files.sync_directory(os.path.dirname(directory.path))


def _own(directory: File) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY
    with files.opened(directory.path, flags) as descriptor:
        os.fchown(descriptor, directory.uid, directory.gid)
        os.fchmod(descriptor, directory.mode)


def _write_staged(file: File, attributes: dict[str, str]) -> None:
    name = paths.staging(file.path)
    files.remove(name)
    with files.opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        blobs.copy(file.digest, descriptor)
        os.fchown(descriptor, file.uid, file.gid)  # takes capabilities away
        files.set_attributes(name, attributes, file.label)
        os.fchmod(descriptor, file.mode)  # an access list has a mode of its own


def seal(change: Change) -> None:
    """Make staged bytes durable and check them; raises `Failure` when they are not what was sent."""
    file = as_file(change.after)
    if file is None:
        return
    name = paths.staging(file.path)
    with files.opened(name, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
    if files.digest_of(name) != file.digest:
        raise Failure(f"`{name}` was written, but other bytes are read back", hint="see the kernel log of the node")


def ready(change: Change) -> bool:
    """Whether what a file needs is staged, whole."""
    file = as_file(change.after)
    if file is None:
        return True
    found = files.state_of(paths.staging(file.path), label=file.label is not None)
    return found is not None and (found.digest, found.mode, found.uid) == (file.digest, file.mode, file.uid)


def perform(change: Change) -> None:
    """Make the change visible; a file must be staged."""
    file, directory = as_file(change.after), as_directory(change.after)
    if file:
        os.rename(paths.staging(file.path), file.path)
    elif directory:
        _make_directory(directory)
    elif change.after is not None:
        live.write(change.after)  # type: ignore[arg-type]
    else:
        _remove(change.before)


def _remove(before: Optional[State]) -> None:
    if as_directory(before):
        files.remove_directory(before.path)  # type: ignore[union-attr]
    elif as_file(before):
        files.remove(before.path)  # type: ignore[union-attr]
    elif isinstance(before, Live):
        live.remove(before)


def perform_afresh(change: Change, attributes: dict[str, str]) -> None:
    """Stage, check and perform: what recovery and undo do, one change at a time."""
    if not ready(change):
        stage(change, attributes)
        seal(change)
    perform(change)


def sync(changes: Iterable[Change]) -> None:
    """Make the names of what was changed durable."""
    for folder in sorted(
        {os.path.dirname(change.key[len("file:") :]) for change in changes if change.key.startswith("file:")}
    ):
        files.sync_directory(folder)


def unstage(changes: Iterable[Change]) -> None:
    """Remove what was staged for `changes`."""
    for change in changes:
        for state in (change.before, change.after):
            file = as_file(state)
            if file:
                files.remove(paths.staging(file.path))


def stands(change: Change, *, rebooted: bool) -> str:
    """Where the change is now: `after`, `before`, or `elsewhere` when somebody else has been there.

    A live value that is neither is `before` where nobody else need have set it: after a boot, half-way through
    the words of a unit, or as a module brings it.
    """
    now = current(change)
    if same(now, change.after):
        return "after"
    ours = same(now, change.before) or (isinstance(now, Live) and (rebooted or live.is_between(now, change)))
    return "before" if ours else "elsewhere"


def current(change: Change) -> Optional[State]:
    reference = change.after or change.before
    if isinstance(reference, File):
        return files.state_of(reference.path, kind=reference.kind, label=True)
    return live.read(reference) if reference else None
