"""What speaks against a proposal (refusals), and what the user should know of (findings)."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator

from cni_provision.node import attachments, files, live, observe, steps
from cni_provision.node.failure import Failure
from cni_provision.node.proposal import Proposal
from cni_provision.node.protocol import NodeFinding, Request
from cni_provision.plan import DIRECTORY, Change, File, ancestors, contested, not_ours, sorting_before

GET_FLAGS, IMMUTABLE = 0x80086601, 0x10  # FS_IOC_GETFLAGS, FS_IMMUTABLE_FL: linux/fs.h
REGULAR = 64  # the length of a digest; anything shorter is the word for what is there instead


def refusals(request: Request, proposal: Proposal) -> Iterator[NodeFinding]:
    """Why the proposal may not be carried out, before anything is written."""
    yield from _contested(proposal)
    for change in proposal.changes:
        yield from _not_regular(change)
    yield from _not_ours(request, proposal)
    if not request.force:
        yield from attachments.needing(request, proposal)
    yield from _cannot_write(proposal)


def refuse(found: list[NodeFinding]) -> None:
    """Raises `Failure` for the first refusal and counts the others; a place that cannot be written is no conflict."""
    if found:
        more = f" (and {len(found) - 1} more like it: see `cni-provision plan`)" if len(found) > 1 else ""
        reason = "failed" if found[0].code in ("read-only", "immutable") else "conflict"
        raise Failure(found[0].message + more, reason=reason, hint=found[0].hint)


def _contested(proposal: Proposal) -> Iterator[NodeFinding]:
    theirs = {key: (each.owner, each.states[key]) for key, each in proposal.others.items()}
    for key, owner in contested(proposal.goal.desired, theirs).items():
        name = key.partition(":")[2]
        hint = "let one `cni_owner` declare it"
        if proposal.goal.desired[key].kind in ("service", "unit"):
            hint = "let both come from one version of cni-provision, or one of them do without: `cni_runtime`"
        yield NodeFinding("two-owners", f"`{name}` belongs to owner `{owner}`", hint)


def _not_regular(change: Change) -> Iterator[NodeFinding]:
    before, after = change.before, change.after
    if not isinstance(before, File) or before.digest == (after.digest if isinstance(after, File) else None):
        return
    gone = before.digest == DIRECTORY and after is None and change.kind == "directory"
    if len(before.digest) != REGULAR and not gone:
        yield NodeFinding("not-a-file", f"`{before.path}` is a {before.digest}, not a file", "move it away")


def _not_ours(request: Request, proposal: Proposal) -> Iterator[NodeFinding]:
    ours = {*proposal.current.owned, *proposal.goal.pruned}
    ours |= {key for key in proposal.goal.returns if key in proposal.current.states}
    adopted = {f"file:{path}" for path in observe.matching(request.adopt, request.conf_dir)}
    for change in not_ours(proposal.changes, {*ours, *adopted, *proposal.others}):
        path = change.key.partition(":")[2]
        name = os.path.basename(path) if os.path.dirname(path) == request.conf_dir else path
        if isinstance(change.before, File) and len(change.before.digest) == REGULAR:
            yield NodeFinding(
                "not-ours", f"`{path}` is there already and is not ours", f"to take it over: `cni_adopt: [{name}]`"
            )


def _cannot_write(proposal: Proposal) -> Iterator[NodeFinding]:
    touched = [change.key.partition(":")[2] for change in proposal.changes if change.key.startswith("file:")]
    for folder in sorted({_existing(os.path.dirname(path)) for path in touched}):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            hint = "remount it writable, or declare other folders (or no services) in `cni_runtime`"
            yield NodeFinding("read-only", f"`{folder}` is on a read-only file system", hint)
        if _is_immutable(folder):
            yield NodeFinding("immutable", f"`{folder}` is immutable", f"`chattr -i {folder}`")
    for path in touched:
        if _is_immutable(path):
            yield NodeFinding("immutable", f"`{path}` is immutable", f"`chattr -i {path}`")


def _existing(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _is_immutable(path: str) -> bool:
    flags = array.array("l", [0])
    try:
        with files.opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            fcntl.ioctl(descriptor, GET_FLAGS, flags)
    except OSError:
        return False
    return bool(flags[0] & IMMUTABLE)


def findings(request: Request, proposal: Proposal) -> Iterator[NodeFinding]:
    """What the run leaves alone."""
    yield from _loaded_before_ours(request, proposal)
    yield from _cannot_execute(proposal)
    yield from _open_to_others(request, proposal)
    if not live.has_systemd() and any(key.startswith("unit:") for key in request.desired):
        message = "systemd does not run here: the warm plugin server is left out, plugins run by themselves"
        yield NodeFinding("no-systemd", message, "to say that this is meant: `cni_runtime: {server: false}`")


def _loaded_before_ours(request: Request, proposal: Proposal) -> Iterator[NodeFinding]:
    paths = {key.partition(":")[2] for key in (*proposal.owned, *proposal.others)}
    ours = {os.path.basename(path) for path in paths if os.path.dirname(path) == request.conf_dir}
    going = {os.path.basename(change.key) for change in proposal.changes if change.after is None}
    present = [name for name in observe.conflist_names(request.conf_dir) if name not in going]
    conflists = {name for name in ours if name.endswith(observe.LOADED)}
    for name in sorting_before(present, conflists):
        message = f"`{request.conf_dir}/{name}` is not ours, and runtimes that use the first file load it before ours"
        yield NodeFinding("foreign-conflist", message, f"to remove it: `cni_prune: [{name}]`")


def _cannot_execute(proposal: Proposal) -> Iterator[NodeFinding]:
    executables = (change.after for change in proposal.changes if isinstance(change.after, File))
    paths = [file.path for file in executables if file.digest != DIRECTORY and file.mode & 0o111]
    for folder in sorted({_existing(os.path.dirname(path)) for path in paths}):
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            hint = "remount it without `noexec`, or declare another `bin_dir` in `cni_runtime`"
            yield NodeFinding("noexec", f"`{folder}` is mounted noexec: its plugins cannot run", hint)


def _open_to_others(request: Request, proposal: Proposal) -> Iterator[NodeFinding]:
    """Whoever can write to a folder of ours, or move one above it away, says what root runs."""
    files = (file.path for state in proposal.goal.desired.values() if (file := steps.as_file(state)))
    ours = {request.bin_dir, request.conf_dir, *map(os.path.dirname, files)}
    for folder in sorted({*ours, *(above for path in ours for above in ancestors(path))}):
        with contextlib.suppress(OSError):
            found = os.stat(folder)
            if found.st_uid or _others_write(found, sticky=folder not in ours):
                yield _open_folder(folder, found)


def _others_write(found: os.stat_result, *, sticky: bool) -> bool:
    """Where `sticky` helps, nobody can move away what root has in there."""
    if sticky and found.st_mode & stat.S_ISVTX:
        return False
    return bool(found.st_mode & stat.S_IWOTH or (found.st_gid and found.st_mode & stat.S_IWGRP))


def _open_folder(folder: str, found: os.stat_result) -> NodeFinding:
    message = f"`{folder}` can be changed by others than root (uid {found.st_uid}, mode {found.st_mode & 0o7777:04o})"
    hint = f"whoever writes there becomes root: `chown root:root {folder} && chmod 755 {folder}`"
    return NodeFinding("open-folder", message, hint)
