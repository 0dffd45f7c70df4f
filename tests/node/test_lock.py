"""Two runs on one node: one waits, or is told who is there."""

from __future__ import annotations

import time

import pytest

from cni_provision.node import bundle
from cni_provision.node.protocol import MARKER, frame, to_json
from tests.node.conftest import Bytes, Node, request

pytestmark = pytest.mark.root

FIRST = Bytes().plugin("bridge", b"first")
SECOND = Bytes().plugin("bridge", b"second")


def until(node: Node, path: str) -> None:
    for _ in range(200):
        if node.path(path).exists() and node.path(path).read_bytes():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def test_the_second_is_told_and_the_patient_waits(node: Node) -> None:
    with node.start() as holder:
        assert holder.stdin
        holder.stdin.write(MARKER + frame(bundle.program()) + frame(to_json(request(FIRST))))
        holder.stdin.flush()
        until(node, "/var/lib/cni-provision/lock")
        error = node.ask(request(SECOND), SECOND.contents).reply.error
        assert error
        assert error["reason"] == "busy"
        assert error["message"] == "tester@here holds this node's lock since 2026-01-01"
        assert error["hint"] == "wait for it, or wait here with `--lock-timeout SECONDS`"
        assert node.ask(request(SECOND, "plan")).reply.error is None
        with node.start() as patient:
            assert patient.stdin
            asked = request(Bytes(), only=("verify",), lock_timeout=20.0)
            patient.stdin.write(MARKER + frame(bundle.program()) + frame(to_json(asked)))
            patient.stdin.flush()
            time.sleep(0.3)
            assert patient.poll() is None
            holder.communicate(timeout=20)
            patient.communicate(timeout=20)
            assert patient.returncode == 0
    assert node.ask(request(SECOND), SECOND.contents).reply.applied
