"""A saved plan: exactly what each node is asked, what it read there, and the bytes that it may need.

One JSON object, mode 0600: `{"format": "cni-provision-plan", "v": 1, "source": …, "events": […], "nodes":
[{name, groups, connection, request}], "blobs": {digest: base64 of zlib data}, "seal": SHA-256 of all of this}`; the
events are those that showed the plan. Nothing is rendered again: `apply FILE` sends these requests, and a node that
is not as it was refuses alone. The seal tells a plan that was cut or edited; it is no signature.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cni_provision.errors import Place, UserError
from cni_provision.events import Event, Finding, Planned, PlannedChange, Selected, from_json
from cni_provision.fleet import Blobs, Job
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import Request, request_from_json, to_json
from cni_provision.plan import File

FORMAT = "cni-provision-plan"
VERSION = 1
SHOWN = (Selected, PlannedChange, Finding, Planned)


@dataclass(frozen=True)
class SavedBlobs:
    """Compressed bytes by digest."""

    base64: Mapping[str, str]

    def compressed(self, digest: str) -> bytes:
        return base64.b64decode(self.base64[digest])


@dataclass(frozen=True)
class PlanFile:
    """Jobs that are ready to be sent, and the events that showed them."""

    source: str
    jobs: tuple[Job, ...]
    events: tuple[Event, ...]

    @property
    def changing(self) -> int:
        """How many nodes change."""
        return next((event.changing for event in self.events if isinstance(event, Planned)), 0)


def check_place(file: Path) -> None:
    """Raise `UserError` where no plan can be written: to be called before the fleet is asked."""
    hint = "name a file in a folder of yours"
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"`{file.parent}` is no folder that can be written to", place=Place(str(file)), hint=hint)
    if file.exists() and not file.is_file():  # it will be replaced, not written into
        raise UserError("not a regular file", place=Place(str(file)), hint=hint)


def write(file: Path, plan: PlanFile) -> None:
    """Replace `file` as a whole, or what it links to; other users of this machine cannot read it."""
    file = file.resolve()
    plain = {
        "format": FORMAT,
        "v": VERSION,
        "source": plan.source,
        "events": [event.to_json() for event in plan.events if isinstance(event, SHOWN)],
        "nodes": [node_to_json(job) for job in plan.jobs],
        "blobs": encoded_blobs(plan.jobs),
    }
    descriptor, scratch = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # of mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(compact({**plain, "seal": seal(plain)}) + "\n")
            stream.flush()
            os.fsync(descriptor)
        os.replace(scratch, file)
    except BaseException:
        os.unlink(scratch)
        raise


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def seal(plain: Mapping[str, Any]) -> str:
    """Hex SHA-256 over everything else in the file, in the order in which it stands there."""
    content = {key: value for key, value in plain.items() if key != "seal"}
    return hashlib.sha256(compact(content).encode()).hexdigest()


def node_to_json(job: Job) -> dict[str, Any]:
    return {
        "name": job.node.name,
        "groups": job.node.groups,
        "connection": asdict(job.node.connection),
        "request": json.loads(to_json(job.request)),
    }


def encoded_blobs(jobs: Iterable[Job]) -> dict[str, str]:
    """The bytes that the nodes may ask for, each once; texts travel in the requests."""
    wanted = {digest: job.blobs for job in jobs if job.blobs for digest in digests_of(job.request)}
    return {digest: data for digest, blobs in wanted.items() if (data := encoded(blobs, digest))}


def digests_of(request: Request) -> set[str]:
    states = [*request.desired.values(), *(state for more in request.variants.values() for state in more.values())]
    return {state.digest for state in states if isinstance(state, File)} - set(request.texts)


def encoded(blobs: Blobs, digest: str) -> str | None:
    """None for what has no bytes of its own: a folder."""
    try:
        return base64.b64encode(blobs.compressed(digest)).decode()
    except KeyError:
        return None


def read(file: Path) -> PlanFile:
    """Raises `UserError` for anything but a plan of this version."""
    try:
        plan = json.loads(file.read_bytes())
        if plan["format"] != FORMAT or plan["v"] != VERSION:
            raise UserError(f"not a plan of version {VERSION}", place=Place(str(file)), hint="make a new plan")
        if plan["seal"] != seal(plan):
            hint = "make a new plan; `--limit` and `--only` of `plan` choose what is in it"
            raise UserError("the plan was changed after it was written", place=Place(str(file)), hint=hint)
        blobs = SavedBlobs(plan["blobs"])
        jobs = tuple(job_from_json(node, blobs) for node in plan["nodes"])
        return PlanFile(plan["source"], jobs, tuple(map(from_json, plan["events"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "write one with `cni-provision plan --out FILE`"
        raise UserError("not a plan file", place=Place(str(file)), hint=hint) from error


def job_from_json(node: Mapping[str, Any], blobs: Blobs) -> Job:
    connection = {**node["connection"], "ssh_args": tuple(node["connection"]["ssh_args"])}
    request = request_from_json(json.dumps(node["request"]).encode())
    declared = Declarations(owner=request.owner)
    return Job(Node(node["name"], tuple(node["groups"]), Connection(**connection), declared), request, blobs)
