"""Runs that begin at the same moment, and a node that is exactly as it was once we are gone."""

from __future__ import annotations

import json
import subprocess
import zlib
from collections.abc import Sequence

import pytest

from cni_provision.node import bundle
from cni_provision.node.protocol import MARKER, Reply, Request, frame, to_json
from cni_provision.plan import Live
from tests.node.conftest import Bytes, Node, replies, request

pytestmark = pytest.mark.root

SECONDS = 60
FORWARDING = "net.ipv4.ip_forward"


def at_once(node: Node, asked: Sequence[tuple[Request, Bytes]]) -> list[Reply]:
    """Their replies; every program has its whole request before the first of them gets on."""
    processes: list[tuple[subprocess.Popen[bytes], bytes]] = []
    for each, what in asked:
        blobs = [frame(bytes.fromhex(name) + zlib.compress(body)) for name, body in what.contents.items()]
        message = b"".join([frame(bundle.program()), frame(to_json(each)), *blobs, frame(b"")])
        process = node.start()
        assert process.stdin
        process.stdin.write(MARKER)
        process.stdin.flush()
        processes.append((process, message))
    for process, message in processes:
        assert process.stdin
        process.stdin.write(message)
        process.stdin.flush()
    return [list(replies(process.communicate(timeout=SECONDS)[0]))[-1] for process, _ in processes]


def test_two_owners_who_wait_lose_nothing(node: Node) -> None:
    asked = []
    for owner in ("alice", "bob"):
        what = Bytes().plugin(owner, owner.encode()).conflist(f"10-{owner}.conflist", b"{}")
        asked.append((request(what, owner=owner, lock_timeout=SECONDS), what))
    for reply in at_once(node, asked):
        assert reply.error is None
        assert reply.applied
    for owner in ("alice", "bob"):
        assert node.path(f"/opt/cni/bin/{owner}").read_text() == owner
        assert node.ask(Request("status", owner=owner)).reply.facts["drift"] == 0
    assert node.ask(Request("status")).reply.generation == 2


def test_of_two_plans_one_is_carried_out(node: Node) -> None:
    """The second waits, and sees that the node is not what it planned for any more."""
    asked = []
    for text in (b"first", b"second"):
        what = Bytes().plugin("bridge", text)
        expect = node.ask(request(what, "plan")).reply.observed
        asked.append((request(what, expect=expect, lock_timeout=SECONDS), what))
    answered = at_once(node, asked)
    (refused,) = [reply.error for reply in answered if reply.error]
    assert refused["reason"] == "conflict"
    assert refused["message"] == "the node is at generation 1, the plan was made at 0"
    (winner,) = [what for reply, (_, what) in zip(answered, asked, strict=True) if reply.applied]
    assert node.path("/opt/cni/bin/bridge").read_bytes() in winner.contents.values()


def test_who_does_not_wait_is_told_or_is_first(node: Node) -> None:
    """Nothing is lost whoever comes first: what was applied is there, what was not says who was."""
    asked = []
    for owner in ("alice", "bob", "carol"):
        what = Bytes().plugin(owner, b"x")
        asked.append((request(what, owner=owner), what))
    for reply, (each, _) in zip(at_once(node, asked), asked, strict=True):
        there = node.path(f"/opt/cni/bin/{each.owner}").exists()
        if reply.error:
            assert not there
            assert reply.error["reason"] == "busy"
            assert reply.error["message"] == "tester@here holds this node's lock since 2026-01-01"
        else:
            assert there


LISTING = """
import json, os, sys
found = {top: os.listdir(top) for top in ("/etc", "/opt")}
for top in ("/etc/cni", "/etc/sysctl.d", "/opt/cni", "/opt/foreign", "/opt/ours"):
    for folder, folders, names in os.walk(top):
        for path in [folder, *(f"{folder}/{name}" for name in names)]:
            status = os.lstat(path)
            extra = {name: os.getxattr(path, name, follow_symlinks=False).hex()
                     for name in os.listxattr(path, follow_symlinks=False)}
            is_file = os.path.isfile(path) and not os.path.islink(path)
            text = open(path, "rb").read().hex() if is_file else os.path.islink(path)
            time = 0 if os.path.isdir(path) else status.st_mtime_ns
            found[path] = [status.st_mode, status.st_uid, status.st_gid, status.st_size * is_file, time, extra, text]
print(json.dumps(found, sort_keys=True))
"""
FOREIGN = """
set -e
mkdir -p /etc/cni/net.d /opt/cni/bin /opt/foreign
chmod 750 /opt/cni/bin; chown 0:4 /opt/cni/bin; chmod 711 /etc/cni/net.d
echo foreign > /opt/cni/bin/foreign; chmod 4755 /opt/cni/bin/foreign; touch -d 2001-01-01 /opt/cni/bin/foreign
echo theirs > /etc/cni/net.d/10-pods.conflist; chmod 640 /etc/cni/net.d/10-pods.conflist
echo old > /etc/cni/net.d/05-old.conflist; touch -d 2002-02-02 /etc/cni/net.d/05-old.conflist
ln -s /opt/foreign /opt/link
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=2
"""
VALUES = (FORWARDING, "net.ipv4.conf.all.rp_filter")


def listing(node: Node) -> dict[str, list[object]]:
    found: dict[str, list[object]] = json.loads(node.python(LISTING))
    return found


def values(node: Node) -> list[str]:
    return [node.shell(f"sysctl -n {name}").strip() for name in VALUES]


def test_removal_leaves_a_node_as_it_was_found(node: Node) -> None:
    node.shell(FOREIGN)
    before, found = listing(node), values(node)
    first = (
        Bytes()
        .plugin("bridge", b"1")
        .conflist("10-pods.conflist", b"ours")
        .file("/opt/ours/deep/file", b"1")
        .file("/etc/sysctl.d/90-cni-provision.conf", b"net.ipv4.ip_forward = 1\n")
        .live(Live("sysctl", FORWARDING, "1"))
    )
    second = first.plugin("bridge", b"2").plugin("vlan", b"2").live(Live("sysctl", VALUES[1], "1"))
    for what in (first, second, first):
        reply = node.ask(request(what, adopt=("10-pods.conflist",), prune=("05-*",)), what.contents).reply
        assert reply.error is None
    assert node.ask(Request("rollback")).reply.applied
    reply = node.ask(Request("remove")).reply
    assert reply.error is None
    after = listing(node)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    # what was taken over or pruned has its bytes, mode, owner and attributes again; the time is that of its return
    returned = {"/etc/cni/net.d/10-pods.conflist", "/etc/cni/net.d/05-old.conflist"}
    assert changed <= returned, {path: (before.get(path), after.get(path)) for path in changed}
    for path in returned:
        assert before[path][:4] == after[path][:4]
    assert node.path("/etc/cni/net.d/10-pods.conflist").read_text() == "theirs\n"
    assert node.path("/etc/cni/net.d/05-old.conflist").read_text() == "old\n"
    assert values(node) == found
