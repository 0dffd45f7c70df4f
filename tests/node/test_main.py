"""The whole program over pipes: noise, Pythons, broken requests, controllers that go away."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import pytest

from cni_provision.node import boot, bundle
from cni_provision.node.protocol import MARKER, Request, frame, to_json
from tests.node.conftest import Bytes, Node, digest, replies, request

pytestmark = pytest.mark.root

WANTED = Bytes().plugin("bridge", b"bridge").conflist("10-pods.conflist", b"{}")
PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))


def python(version: str) -> str:
    """A Python of that version on this machine."""
    named = [*(str(path) for path in PYTHONS if f"/{version}." in str(path)), f"/usr/bin/python{version}"]
    found = [path for path in named if Path(path).exists()]
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    return found[0]


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_every_python_from_3_9(node: Node, version: str) -> None:
    reply = node.ask(request(WANTED), WANTED.contents, python=python(version)).reply
    assert reply.applied
    assert reply.facts["python"].startswith(version)
    assert node.ask(request(WANTED), python=python(version)).reply.changes == ()


@pytest.mark.parametrize("noise", [b"secret\n", b"", MARKER[:4], b"\0\0\xff\n"])
def test_noise_before_the_marker_is_skipped(node: Node, noise: bytes) -> None:
    assert node.ask(request(WANTED, "plan"), noise=noise).reply.error is None


def test_one_round_trip_when_nothing_changes(node: Node) -> None:
    first = node.ask(request(WANTED), WANTED.contents)
    assert [len(reply.need) for reply in first.replies] == [2, 0]
    second = node.ask(request(WANTED))
    assert [reply.applied for reply in second.replies] == [True]


def test_texts_in_the_request_need_no_second_question(node: Node) -> None:
    conflist = Bytes().conflist("10-pods.conflist", b"{}")
    texts = {name: content.decode() for name, content in conflist.contents.items()}
    assert len(node.ask(request(conflist, texts=texts)).replies) == 1


def test_a_text_under_a_wrong_digest_is_refused(node: Node) -> None:
    conflist = Bytes().conflist("10-pods.conflist", b"{}")
    error = node.ask(request(conflist, texts={digest(b"{}"): "other"})).reply.error
    assert error
    assert "have another digest" in error["message"]


def test_a_blob_under_a_wrong_digest_is_refused(node: Node) -> None:
    wrong = dict.fromkeys(WANTED.contents, b"other")
    error = node.ask(request(WANTED), wrong).reply.error
    assert error
    assert "have another digest" in error["message"]
    assert not [path for path in node.tree() if "bridge" in path]


def test_blobs_that_do_not_come(node: Node) -> None:
    error = node.ask(request(WANTED), {}).reply.error
    assert error
    assert error["message"] == "2 of 2 files did not come"


def test_a_controller_that_goes_away_changes_nothing(node: Node) -> None:
    before = node.tree()
    with node.start() as process:
        assert process.stdin
        process.stdin.write(MARKER + frame(bundle.program()) + frame(to_json(request(WANTED))) + b"\0\0\1\0half")
        process.stdin.close()
        assert process.wait(20) == 1
    assert node.tree() == before
    assert node.ask(request(WANTED), WANTED.contents).reply.applied


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no json", "the request cannot be read"),
        (b"[]", "the request cannot be read"),
        (b'{"verb": "apply", "new": 1}', "the request cannot be read"),
        (b'{"verb": "apply", "desired": {"file:/x": {"path": "/x", "digest": "1"}}}', "is not a file or directory"),
        (b'{"verb": "apply", "desired": {"file:/x": {"path": "/y", "digest": "1"}}}', "does not belong"),
        (b'{"verb": "apply", "reloads": [{"name": "x", "argv": [], "paths": []}]}', "without a command"),
    ],
)
def test_a_request_that_cannot_be_read_is_an_error_in_words(node: Node, body: bytes, message: str) -> None:
    with node.start() as process:
        out, err = process.communicate(MARKER + frame(bundle.program()) + frame(body), timeout=20)
    (reply,) = replies(out)
    assert reply.error
    assert message in reply.error["message"]
    assert not err
    assert not node.path("/var/lib/cni-provision/txn").exists() or not node.shell("ls /var/lib/cni-provision/txn")


def test_expect_names_what_moved(node: Node) -> None:
    node.ask(request(WANTED), WANTED.contents)
    newer = Bytes().plugin("bridge", b"newer").conflist("10-pods.conflist", b"{}")
    expect = node.ask(request(newer, "plan")).reply.observed
    node.write("/opt/cni/bin/bridge", b"moved", mode=0o755)
    error = node.ask(request(newer, expect=expect), newer.contents).reply.error
    assert error
    assert error["reason"] == "conflict"
    assert error["message"] == "`/opt/cni/bin/bridge` changed since the plan was made"
    expect = node.ask(request(newer, "plan")).reply.observed
    assert node.ask(request(newer, expect=expect), newer.contents).reply.applied
    error = node.ask(request(newer, expect=expect)).reply.error
    assert error
    assert error["message"] == "the node is at generation 2, the plan was made at 1"


def test_a_node_takes_the_files_of_its_own_architecture(node: Node) -> None:
    machine = node.ask(Request("status")).reply.facts["architecture"]
    mine = request(Bytes(), variants={machine: dict(WANTED.states)})
    assert node.ask(mine, WANTED.contents).reply.applied
    error = node.ask(request(Bytes(), variants={"vax": dict(WANTED.states)})).reply.error
    assert error
    assert error["message"] == f"no plugins for this node's architecture `{machine}` (there are: vax)"


def test_plugins_lists_executables_with_versions_and_owner(node: Node) -> None:
    script = b'#!/bin/sh\ncat >/dev/null; echo \'{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}\'\n'
    plugins = Bytes().plugin("bridge", script)
    node.ask(request(plugins), plugins.contents)
    node.write("/opt/cni/bin/foreign", b"#!/bin/sh\nexit 1\n", mode=0o755)
    node.write("/opt/cni/bin/README", b"text")
    listed = {each["name"]: each for each in node.ask(Request("plugins")).reply.facts["plugins"]}
    assert set(listed) == {"bridge", "foreign"}
    assert listed["bridge"]["versions"] == ["0.4.0", "1.0.0"]
    assert listed["bridge"]["owner"] == "cni-provision"
    assert (listed["foreign"]["versions"], listed["foreign"]["owner"]) == ([], None)


def test_the_interpreter_is_recorded(node: Node) -> None:
    node.ask(request(WANTED), WANTED.contents)
    recorded = node.path("/var/lib/cni-provision/python")
    assert recorded.is_symlink()
    assert str(recorded.readlink()) == str(Path(sys.executable).resolve())
    assert node.ask(Request("status"), python=None).reply.facts["python"] == sys.version.split()[0]


def test_ten_generations_are_kept_with_their_bytes(node: Node) -> None:
    for number in range(13):
        plugins = Bytes().plugin("bridge", b"bridge %d" % number)
        node.ask(request(plugins), plugins.contents)
    assert len(node.shell("ls /var/lib/cni-provision/generations").split()) == 10
    assert len(node.shell("ls /var/lib/cni-provision/blobs").split()) == 10
    assert node.ask(request(Bytes(), "rollback", generation=4)).reply.applied
    assert node.path("/opt/cni/bin/bridge").read_bytes() == b"bridge 3"
    assert node.ask(request(Bytes(), "rollback", generation=3)).reply.error


def test_what_others_changed_during_an_interruption_is_left(node: Node) -> None:
    node.ask(request(WANTED), WANTED.contents)
    newer = Bytes().plugin("bridge", b"newer").plugin("vlan", b"new").conflist("10-pods.conflist", b"{}")
    trace = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=rename:signal=KILL:when=KKK"]
    for number in range(5, 20):
        node.ask(request(newer), newer.contents, trace=[*trace[:-1], trace[-1].replace("KKK", str(number))])
        if node.path("/var/lib/cni-provision/txn/2.json").exists():
            break
    node.write("/opt/cni/bin/bridge", b"somebody else's", mode=0o755)
    reply = node.ask(request(Bytes(), "status")).reply
    assert [each.code for each in reply.findings] == ["unfinished"]
    reply = node.ask(request(Bytes(), only=("verify",))).reply
    assert [each.code for each in reply.findings] == ["recovered", "left"]
    assert node.path("/opt/cni/bin/bridge").read_bytes() == b"somebody else's"
    assert node.path("/opt/cni/bin/vlan").read_bytes() == b"new"
    assert node.ask(Request("status")).reply.incomplete
    assert node.ask(request(newer), newer.contents).reply.applied
    assert not node.ask(Request("status")).reply.incomplete


def test_attributes_of_a_replaced_file_are_kept(node: Node) -> None:
    node.ask(request(WANTED), WANTED.contents)
    capability = "0100000200200000000000000000000000000000"  # version 2, cap_net_raw effective and permitted
    name = "'/opt/cni/bin/bridge', 'security.capability'"
    node.shell(f'python3 -c "import os; os.setxattr({name}, bytes.fromhex({capability!r}))"')
    newer = Bytes().plugin("bridge", b"newer").conflist("10-pods.conflist", b"{}")
    node.ask(request(newer), newer.contents)
    shown = node.shell(f'python3 -c "import os; print(os.getxattr({name}).hex())"')
    assert shown.strip() == capability
    assert node.path("/opt/cni/bin/bridge").read_bytes() == b"newer"


def test_the_program_is_whole_and_packed_once() -> None:
    sources = json.loads(zlib.decompress(bundle.program()))
    assert {"cni_provision", "cni_provision.plan", "cni_provision.node.main", "cni_provision.node.loader"} <= set(
        sources
    )
    assert "cni_provision.node.bundle" not in sources
    assert bundle.program() is bundle.program()
    assert len(bundle.program()) < 128 * 1024


def test_argv_is_plain_text_without_secrets_or_quotes_that_shlex_cannot_carry() -> None:
    words = boot.argv("/usr/bin/python3")
    assert words[:2] == ["sh", "-c"]
    assert all("\0" not in word and word.isascii() for word in words)
