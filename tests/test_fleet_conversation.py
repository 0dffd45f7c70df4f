"""The conversation as a generator: no session, no node, only what is said."""

from __future__ import annotations

import json
import zlib

import pytest

from cni_provision.errors import Busy, Conflict, Denied, NodeError, NodeFailed
from cni_provision.fleet_conversation import END_OF_BLOBS, Conversation, conversation, opening, read_reply
from cni_provision.node.protocol import MARKER, Reply, Request, frame, to_json

ONE, TWO = "11" * 32, "22" * 32
REQUEST = Request("apply")


class Blobs(dict[str, bytes]):
    def compressed(self, digest: str) -> bytes:
        return zlib.compress(self[digest])


def start(blobs: Blobs | None = None) -> Conversation:
    flow = conversation(b"program", REQUEST, blobs)
    assert tuple(next(flow)) == (MARKER, frame(b"program"), frame(to_json(REQUEST)))
    return flow


def test_one_question_one_answer() -> None:
    flow = start()
    with pytest.raises(StopIteration) as end:
        flow.send(to_json(Reply(generation=3)))
    assert end.value.value == Reply(generation=3)


def test_what_the_node_needs_is_sent() -> None:
    flow = start(Blobs({ONE: b"a", TWO: b"b"}))
    blocks = list(flow.send(to_json(Reply(need=(TWO,)))))
    assert blocks == [frame(bytes.fromhex(TWO) + zlib.compress(b"b")), END_OF_BLOBS]
    with pytest.raises(StopIteration) as end:
        flow.send(to_json(Reply(applied=True, generation=4)))
    assert end.value.value.applied


@pytest.mark.parametrize("blobs", [None, Blobs()])
def test_a_blob_that_is_not_part_of_the_run(blobs: Blobs | None) -> None:
    blocks = start(blobs).send(to_json(Reply(need=(ONE,))))
    with pytest.raises(NodeFailed, match="`111111111111`, which is not part of this run"):
        list(blocks)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("conflict", Conflict), ("busy", Busy), ("denied", Denied), ("failed", NodeFailed), ("new word", NodeFailed)],
)
def test_the_nodes_error(reason: str, kind: type[NodeError]) -> None:
    error = {"reason": reason, "message": "it moved", "hint": "plan again", "detail": "Traceback: line 7"}
    with pytest.raises(kind) as caught:
        start().send(to_json(Reply(error=error)))
    found = caught.value
    assert (found.message, found.hint, found.detail) == ("it moved", "plan again", "Traceback: line 7")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", json.dumps({"surprise": 1}).encode()])
def test_an_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(NodeFailed, match="cannot be read"):
        read_reply(body)


def test_a_request_is_complete_by_itself() -> None:
    assert b"".join(opening(b"p", REQUEST)).startswith(MARKER + b"\0\0\0\1p")
