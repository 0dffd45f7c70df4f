"""`cni_provision.cli.run.planfile`: what is written is what is read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cni_provision.cli.run import planfile
from cni_provision.cli.run.planfile import PlanFile
from cni_provision.errors import UserError
from cni_provision.events import Observed, Planned, PlannedChange
from cni_provision.fleet import Job
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import Request
from cni_provision.plan import File

EXECUTABLE = "ab" * 32
TEXT = "cd" * 32


@dataclass(frozen=True)
class Bytes:
    by_digest: dict[str, bytes]

    def compressed(self, digest: str) -> bytes:
        return zlib.compress(self.by_digest[digest])


@pytest.fixture
def plan() -> PlanFile:
    request = Request(
        verb="apply",
        owner="team",
        desired={
            "file:/opt/cni/bin/bridge": File("/opt/cni/bin/bridge", EXECUTABLE, 0o755, kind="plugin"),
            "file:/etc/cni/net.d/1.conflist": File("/etc/cni/net.d/1.conflist", TEXT, kind="conflist"),
        },
        texts={TEXT: "{}"},
        expect={"generation": 4, "states": {}},
    )
    node = Node("n1", ("web",), Connection(host="10.0.0.1", ssh_args=("-F", "x")), Declarations(owner="team"))
    change = PlannedChange("n1", "/opt/cni/bin/bridge", "+", "plugin")
    events = (Observed("n1", 4, 0.1), change, Planned(1, 1, added=1))
    return PlanFile("hosts.yaml", (Job(node, request, Bytes({EXECUTABLE: b"bridge"})),), events)


def test_round_trip(plan: PlanFile, tmp_path: Path) -> None:
    planfile.write(tmp_path / "p", plan)
    read = planfile.read(tmp_path / "p")
    assert (read.source, read.changing) == ("hosts.yaml", 1)
    assert read.events == plan.events[1:]
    assert read.jobs[0].node == plan.jobs[0].node
    assert read.jobs[0].request == plan.jobs[0].request
    assert read.jobs[0].blobs
    assert zlib.decompress(read.jobs[0].blobs.compressed(EXECUTABLE)) == b"bridge"


def test_an_open_file_is_closed_to_others(plan: PlanFile, tmp_path: Path) -> None:
    (tmp_path / "p").touch(mode=0o644)
    planfile.write(tmp_path / "p", plan)
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o600


def test_a_link_stays(plan: PlanFile, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "p")
    planfile.write(tmp_path / "link", plan)
    assert (tmp_path / "link").is_symlink()
    assert planfile.read(tmp_path / "p").source == plan.source


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "\udcff", json.dumps({"format": planfile.FORMAT, "v": 2}), '{"format": "x", "v": 1}']
)
def test_anything_else_is_a_mistake(text: str, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="not a plan") as caught:
        planfile.read(tmp_path / "p")
    assert caught.value.place


@pytest.mark.parametrize(
    "edit",
    [
        lambda saved: saved.update(nodes=[]),
        lambda saved: saved.update(blobs={}),
        lambda saved: saved["nodes"][0].update(name="another"),
        lambda saved: saved.update(source="another"),
    ],
    ids=["no nodes", "no blobs", "another node", "another source"],
)
def test_an_edited_plan_is_refused(edit: Callable[[dict], None], plan: PlanFile, tmp_path: Path) -> None:
    file = tmp_path / "p"
    planfile.write(file, plan)
    saved = json.loads(file.read_text())
    edit(saved)
    file.write_text(json.dumps(saved))
    with pytest.raises(UserError, match="was changed after it was written"):
        planfile.read(file)


def test_a_plan_that_cannot_be_written_leaves_the_one_before(plan: PlanFile, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    (folder / "full").mkdir(parents=True)  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        planfile.write(folder, plan)
    assert [each.name for each in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize(
    ("place", "problem"), [("/nowhere/p", "no folder that can be written to"), ("/dev/null", "not a regular file")]
)
def test_where_no_plan_can_be_written(place: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        planfile.check_place(Path(place))
