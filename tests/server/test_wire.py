from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.cni.outcome import Outcome
from cni_provision.server import wire
from cni_provision.server.wire import Broken, Connection, Request, Silent

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


@given(NAMES, st.dictionaries(NAMES, VALUES), st.binary())
def test_a_request_comes_as_it_was_sent(plugin: str, environment: dict[str, str], stdin: bytes) -> None:
    request = Request(plugin, environment, stdin)
    assert wire.decode_request(wire.encode_request(request)) == request


def test_bytes_that_are_no_text_stay() -> None:
    name = os.fsdecode(b"\xff\xfe")
    request = wire.decode_request(b"bridge\0CNI_ARGS=\xff\xfe\0\0")
    assert request.environment == {"CNI_ARGS": name}


@given(st.binary())
def test_anything_else_is_refused_or_a_request(payload: bytes) -> None:
    with suppress(Broken):
        assert wire.decode_request(payload).plugin


@given(st.integers(-256, 511), st.binary(), st.text(st.characters(codec="utf-8")))
def test_an_outcome_of_a_delegate(code: int, stdout: bytes, stderr: str) -> None:
    payload = code.to_bytes(4, "little", signed=True) + len(stdout).to_bytes(4, "little") + stdout + stderr.encode()
    assert wire.decode_executed(payload) == Outcome(code, stdout, stderr)


def test_pieces_are_put_together(pair: tuple[Connection, socket.socket]) -> None:
    connection, theirs = pair
    theirs.sendall(wire.frame(b"R", b"one")[:4])
    theirs.sendall(wire.frame(b"R", b"one")[4:] + wire.frame(b"K", b""))
    assert connection.receive(b"R", 1) == b"one"
    assert connection.receive(b"K", 1) == b""


def test_silence_is_no_mistake(pair: tuple[Connection, socket.socket]) -> None:
    connection, theirs = pair
    with pytest.raises(Silent):
        connection.receive(b"R", 0.001)
    theirs.sendall(wire.frame(b"R", b"late"))
    assert connection.receive(b"R", 0.001) == b"late"


def test_the_largest_frame_and_one_byte_more(pair: tuple[Connection, socket.socket]) -> None:
    connection, theirs = pair
    theirs.sendall(wire.frame(b"R", b"")[:1] + (wire.LARGEST + 1).to_bytes(4, "little"))
    with pytest.raises(Broken):
        connection.receive(b"R", 1)


def test_hung_up(pair: tuple[Connection, socket.socket]) -> None:
    connection, theirs = pair
    theirs.close()
    with pytest.raises(Broken):
        connection.receive(b"R", 1)
    with pytest.raises(Broken):
        connection.send(b"A", b"x" * (1 << 20))


def test_only_the_first_descriptor_is_kept(pair: tuple[Connection, socket.socket]) -> None:
    connection, theirs = pair
    before = len(os.listdir("/proc/self/fd"))
    with open("/dev/null") as file:
        for piece in (b"R", b"\1\0\0\0", b"x"):
            socket.send_fds(theirs, [piece], [file.fileno()])
        socket.send_fds(theirs, [b""], [file.fileno()] * 9)
    assert connection.receive(b"R", 1) == b"x"
    assert connection.netns_fd >= 0
    assert not os.get_inheritable(connection.netns_fd)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    connection.close()
    assert connection.netns_fd == -1
