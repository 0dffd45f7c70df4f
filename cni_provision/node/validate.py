"""What a request may ask for: the node trusts nothing that it is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from cni_provision.node import paths
from cni_provision.node.blobs import DIGEST
from cni_provision.node.failure import Failure
from cni_provision.node.protocol import Request
from cni_provision.plan import DIRECTORY, Live, State, key_of

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAMES = {
    "sysctl": re.compile(r"(?!.*(?:^|[./])(?:\.|/|$))[A-Za-z0-9_./:@-]{1,200}"),
    "module": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}"),
    "unit": re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,254}"),
}
KINDS = {"plugin", "conflist", "service", "file", "directory"}
FORBIDDEN = ("/proc", "/sys", "/dev", paths.STATE)
VALUE = re.compile(r"[ -~]{0,1024}")


def checked(request: Request) -> Request:
    """The request with its live values in the kernel's spelling; raises `Failure` for anything out of order."""
    if not OWNER.fullmatch(request.owner):
        raise Failure(f"`{request.owner}` cannot be an owner's name", hint="use letters, digits, `.`, `_` and `-`")
    for path in (request.conf_dir, request.bin_dir, request.cache_dir):
        _check_path(path)
    for reload in request.reloads:
        _check_argv(reload.argv)
    variants = {name: _checked_states(states) for name, states in request.variants.items()}
    return replace(request, desired=_checked_states(request.desired), variants=variants)


def _checked_states(states: dict[str, State]) -> dict[str, State]:
    return {key: _checked_state(key, state) for key, state in states.items()}


def _checked_state(key: str, state: State) -> State:
    if key != key_of(state):
        raise Failure(f"`{key}` does not belong to its state `{key_of(state)}`")
    if isinstance(state, Live):
        return _checked_live(state)
    _check_path(state.path)
    whole = state.digest == DIRECTORY if state.kind == "directory" else bool(DIGEST.fullmatch(state.digest))
    numbers = (state.mode, state.uid, state.gid)
    if state.kind not in KINDS or not whole or any(type(number) is not int or number < 0 for number in numbers):
        raise Failure(f"`{state.path}` is not a file or directory that can be written")
    if state.mode > 0o7777:
        raise Failure(f"`{state.path}` cannot have mode {state.mode:o}")
    return state


def _checked_live(state: Live) -> Live:
    value = " ".join(state.value.split())
    if state.kind not in NAMES or not NAMES[state.kind].fullmatch(state.name) or not VALUE.fullmatch(value):
        raise Failure(f"`{state.kind}:{state.name}` is not a sysctl, module or unit that can be set")
    return replace(state, value=value)


def _check_path(path: str) -> None:
    plain = path.startswith("/") and os.path.normpath(path) == path and not path.startswith("//")
    if not plain or not path.isprintable() or path == "/":
        raise Failure(f"`{path}` is not an absolute path in its shortest form")
    if any(path == above or path.startswith(f"{above}/") for above in FORBIDDEN):
        raise Failure(f"`{path}` is not a place for files of yours")


def _check_argv(argv: Iterable[str]) -> None:
    words = list(argv)
    if not words or not all(isinstance(word, str) and word and "\0" not in word for word in words):
        raise Failure("a reload without a command")


def folders(pattern: str, conf_dir: str) -> Iterator[str]:
    """The folder and the name pattern of a prune or adopt entry; raises `Failure` for a wildcard in the folder."""
    folder, name = os.path.split(pattern) if pattern.startswith("/") else (conf_dir, pattern)
    if "/" in name or not name or any(sign in folder for sign in "*?["):
        raise Failure(f"`{pattern}` is neither a file name in `{conf_dir}` nor an absolute path")
    if pattern.startswith("/"):
        _check_path(folder)
    yield folder
    yield name
