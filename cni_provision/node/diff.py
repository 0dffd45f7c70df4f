"""What people read of a change to a text: unified diffs, and digests where the bytes are secret."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Optional

from cni_provision.node import blobs, files, steps
from cni_provision.node.protocol import Request
from cni_provision.plan import DIGEST_DIGITS, Change, File, State

KINDS = ("conflist", "file")
LARGEST = 64 * 1024
OTHERS_READ = 0o077
ONCE = os.urandom(16)


def diffs(changes: Iterable[Change], request: Request, secret: Iterable[str]) -> dict[str, str]:
    """Key → what changes in a text file; what only changes in mode or owner has none."""
    hidden = set(secret)
    found = {change.key: _diff(change, request, hidden) for change in changes if change.kind in KINDS}
    return {key: text for key, text in found.items() if text}


def _diff(change: Change, request: Request, hidden: set[str]) -> str:
    before, after = steps.as_file(change.before), steps.as_file(change.after)
    path, texts = change.key.partition(":")[2], request.texts
    if change.key in hidden or _is_private(before) or _is_private(after):
        return _digests(path, before and keyed(before, request.salt), after and keyed(after, request.salt))
    old, new = _on_node(before), _wanted(after, texts)
    if old is None or new is None:
        return _digests(path, before, after)
    names = (path if before else os.devnull, path if after else os.devnull)
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _is_private(state: Optional[State]) -> bool:
    """Whoever made a file unreadable for others does not want it on a screen."""
    return isinstance(state, File) and not state.mode & OTHERS_READ


def keyed(file: File, salt: str) -> File:
    """The same with a digest from which nobody can guess short contents; without a salt it is good for one reply."""
    if len(file.digest) != DIGEST_DIGITS:
        return file
    key = salt.encode() or ONCE
    return replace(file, digest=f"keyed:{hmac.new(key, file.digest.encode(), hashlib.sha256).hexdigest()[:12]}")


def _digests(path: str, before: Optional[File], after: Optional[File]) -> str:
    if before and after and before.digest == after.digest:
        return ""
    lines = [f"--- {path if before else os.devnull}", f"+++ {path if after else os.devnull}"]
    lines += [f"-{before.content}"] if before else []
    lines += [f"+{after.content}"] if after else []
    return "\n".join(lines) + "\n"


def _on_node(before: Optional[File]) -> Optional[str]:
    """The text on the node now; None if it is too large or no text."""
    if before is None:
        return ""
    try:
        with files.opened(before.path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            return _text(os.read(descriptor, LARGEST + 1))
    except OSError:
        return None


def _wanted(after: Optional[File], texts: Mapping[str, str]) -> Optional[str]:
    """The text that comes: from the request, or from an earlier generation's bytes."""
    if after is None:
        return ""
    if after.digest in texts:
        return texts[after.digest]
    try:
        return _text(blobs.read(after.digest))
    except OSError:
        return None


def _text(content: bytes) -> Optional[str]:
    if len(content) > LARGEST:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
