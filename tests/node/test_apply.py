"""Stories in `tests/cases/node`: what is found, asked and done by the real node program.

After every apply planning again is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_provision.node.protocol import Reload, Reply, Request
from cni_provision.plan import DIRECTORY, File, Live
from tests.node.conftest import Bytes, Node, request

CASES = sorted((Path(__file__).parent.parent / "cases" / "node").glob("*.yaml"))
LISTS = ("prune", "adopt", "only", "secret")
PLAIN = ("owner", "force", "generation", "source", "rollback_on_failure", "expect", "verify", "work", "salt")

pytestmark = pytest.mark.root


def declared(step: Mapping[str, Any]) -> Bytes:
    """What a step declares: plugins and conflists by name, files by path, sysctls by name."""
    found = Bytes()
    for name, text in step.get("plugins", {}).items():
        found = found.plugin(name, text.encode())
    for name, text in step.get("conflists", {}).items():
        found = found.conflist(name, text.encode())
    for path, text in step.get("files", {}).items():
        found = found.file(path, text.encode())
    for path in step.get("folders", ()):
        found = found.live(File(path, DIRECTORY, 0o755, kind="directory"))
    for name, value in step.get("sysctl", {}).items():
        found = found.live(Live("sysctl", name, value))
    return found


def asked(step: Mapping[str, Any], what: Bytes) -> Request:
    lists = {name: tuple(step[name]) for name in LISTS if name in step}
    plain = {name: step[name] for name in PLAIN if name in step}
    reloads = tuple(
        Reload(each["name"], tuple(each["argv"]), tuple(each["paths"])) for each in step.get("reloads", ())
    )
    texts = {digest: content.decode() for digest, content in what.contents.items()} if "texts" in step else {}
    plain = {"source": "tests", **plain}
    return request(what, step["ask"], reloads=reloads, texts=texts, **lists, **plain)


def judge(step: Mapping[str, Any], reply: Reply) -> None:
    error = reply.error or {}
    wanted = step.get("error", {})
    for name in ("reason", "message", "hint"):
        assert error.get(name) == wanted.get(name), f"{step}: {error}"
    if "changes" in step:
        assert [f"{each.sign} {each.key.removeprefix('file:')}" for each in reply.changes] == step["changes"], step
    assert [each.code for each in reply.findings] == step.get("findings", []), reply.findings
    for name in ("generation_now", "rolled_back", "incomplete"):
        if name in step:
            assert getattr(reply, name.removesuffix("_now")) == step[name], step
    if "diffs" in step:
        assert {key.removeprefix("file:"): text for key, text in reply.diffs.items()} == step["diffs"]
    for name, value in step.get("facts", {}).items():
        assert reply.facts[name] == value


def look(node: Node, there: Mapping[str, str | None]) -> None:
    for path, text in there.items():
        target = node.path(path)
        assert (target.read_text() if target.is_file() else None) == text, path
    assert not [path for path in node.tree() if ".cnip-" in path]


def play(node: Node, step: Mapping[str, Any]) -> None:
    what = declared(step)
    ask = asked(step, what)
    reply = node.ask(ask, what.contents).reply
    judge(step, reply)
    if reply.applied:
        again = replace(
            ask,
            verb="plan",
            work={"of": "rollback" if reply.rolled_back else ask.verb},
            generation=reply.generation,
            expect=None,
        )
        assert node.ask(again).reply.changes == ()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_story(case: Path, node: Node) -> None:
    story = yaml.safe_load(case.read_text())
    for path, text in story.get("found", {}).items():
        node.write(path, text.encode())
    for step in story["steps"]:
        if "shell" in step:
            assert node.shell(step["shell"]).strip() == step.get("prints", "")
        else:
            play(node, step)
        look(node, step.get("there", {}))


def test_every_promise_has_a_story() -> None:
    assert len(CASES) >= 20
