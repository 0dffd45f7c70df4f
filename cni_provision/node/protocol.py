"""What controller and node say to each other: requests, replies, and their frames.

Python 3.9, standard library. A frame is a 4-byte big-endian length and that many bytes; a message is a
frame of UTF-8 JSON, a blob is a frame of 32 digest bytes and zlib data; an empty frame ends the blobs.
Both directions begin with `MARKER`, so that noise before it (a talkative `.bashrc`, an unused password
line) is skipped. Controller: marker, program frame, request frame [, blobs]. Node: marker, then one reply
frame that either ends the session or lists the digests that it lacks in `need`; after the blobs a second
reply frame ends it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from cni_provision.plan import Change, File, Live, State

MARKER = b"\0CNIP\0"
VERSION = 1
LENGTH = struct.Struct(">I")
LARGEST_FRAME = 256 * 1024 * 1024


@dataclass(frozen=True)
class Reload:
    """A command that must run once after any of `paths` changed; journalled, due until done."""

    name: str
    argv: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """One complete question to a node.

    `verb`: plan (answer the changes, change nothing), apply, rollback (`generation`, None = the last that
    verified), remove, status, verify, plugins (list executables), attach / detach / ping (the mesh's pieces).
    `desired`: states by key; `variants`: more of them by architecture (Go's names), the node takes its own.
    `texts`: digest → small text files (conflists, drop-ins), so that diffs need no second question.
    `secret`: keys of files whose bytes are never shown; digests of theirs are shown keyed with the run's `salt`.
    `expect`: generation and the digests and live values that the plan read, None = not asked.
    `checks` and `probe`: what to verify, see `cni_provision.checks`. `work`: verb-specific extras.
    """

    verb: str
    owner: str = "cni-provision"
    by: str = ""
    inventory: str = ""
    source: str = ""
    time: str = ""
    desired: dict[str, State] = field(default_factory=dict)
    variants: dict[str, dict[str, State]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    reloads: tuple[Reload, ...] = ()
    prune: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    salt: str = ""
    conf_dir: str = "/etc/cni/net.d"
    bin_dir: str = "/opt/cni/bin"
    cache_dir: str = "/var/lib/cni"
    expect: Optional[dict[str, Any]] = None
    only: tuple[str, ...] = ()
    force: bool = False
    lock_timeout: float = 0.0
    generation: Optional[int] = None
    verify: Optional[dict[str, Any]] = None
    rollback_on_failure: bool = True
    work: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeFinding:
    """Something that the run leaves alone and the user should know."""

    code: str
    message: str
    hint: Optional[str] = None


@dataclass(frozen=True)
class CheckOutcome:
    """One check's judgement: pass, fail or skip."""

    check: str
    outcome: str
    message: Optional[str] = None
    network: Optional[str] = None


@dataclass(frozen=True)
class Reply:
    """A node's answer. `error` is set instead of everything else: {reason, message, hint}.

    `need`: digests to send now. `changes`: planned, or done when `applied`. `diffs`: key → unified diff text.
    `generation`: the node's current one. `outcomes`: of checks and probe. `facts`: verb-specific.
    """

    need: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    diffs: dict[str, str] = field(default_factory=dict)
    findings: tuple[NodeFinding, ...] = ()
    generation: int = 0
    applied: bool = False
    rolled_back: bool = False
    incomplete: bool = False
    outcomes: tuple[CheckOutcome, ...] = ()
    observed: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    error: Optional[dict[str, Any]] = None


def state_from_json(value: Any) -> Optional[State]:
    """A state from its fields; None stays None, raises `TypeError` for anything else."""
    if value is None:
        return None
    return File(**value) if "path" in value else Live(**value)


def to_json(message: Union[Request, Reply]) -> bytes:
    """A `Request` or `Reply` as JSON; what is empty is left out."""
    kept = {name: value for name, value in vars(message).items() if value or _says_something(name, value)}
    return json.dumps(kept, default=vars, sort_keys=True, separators=(",", ":")).encode()


def _says_something(name: str, value: object) -> bool:
    """Whether an empty value differs from its default: generation 0, and no where yes is usual."""
    return name in ("generation", "rollback_on_failure") and value is not None


def request_from_json(text: bytes) -> Request:
    """A request as the node reads it; raises `ValueError`, `TypeError` or `KeyError` for anything else."""
    plain = json.loads(text)
    plain["desired"] = {key: state_from_json(value) for key, value in plain.get("desired", {}).items()}
    plain["variants"] = {
        architecture: {key: state_from_json(value) for key, value in states.items()}
        for architecture, states in plain.get("variants", {}).items()
    }
    plain["reloads"] = tuple(
        Reload(item["name"], tuple(item["argv"]), tuple(item["paths"])) for item in plain.get("reloads", ())
    )
    for name in ("prune", "adopt", "secret", "only"):
        plain[name] = tuple(plain.get(name, ()))
    return Request(**plain)


def reply_from_json(text: bytes) -> Reply:
    """A reply as the controller reads it; raises `ValueError`, `TypeError` or `KeyError` for anything else."""
    plain = json.loads(text)
    plain["changes"] = tuple(
        Change(item["key"], state_from_json(item["before"]), state_from_json(item["after"]))
        for item in plain.get("changes", ())
    )
    plain["findings"] = tuple(NodeFinding(**item) for item in plain.get("findings", ()))
    plain["outcomes"] = tuple(CheckOutcome(**item) for item in plain.get("outcomes", ()))
    plain["need"] = tuple(plain.get("need", ()))
    return Reply(**plain)


def frame(body: bytes) -> bytes:
    """`body` with its length before it."""
    return LENGTH.pack(len(body)) + body


States = Mapping[str, State]
Changes = list[Change]
