from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.net import link, rtnl
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import NetlinkError, Socket

PAIRS = st.lists(st.tuples(st.integers(0, rtnl.NLA_TYPE_MASK), st.binary(max_size=300)))


@given(PAIRS)
def test_attributes_come_back_as_they_were_packed(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(rtnl.attribute(kind, value) for kind, value in pairs)
    assert len(packed) % 4 == 0
    assert list(rtnl.attribute_pairs(packed)) == pairs


@given(PAIRS)
def test_nested_attributes_come_back_without_their_flag(pairs: list[tuple[int, bytes]]) -> None:
    packed = rtnl.nested(18, *(rtnl.attribute(kind, value) for kind, value in pairs))
    ((kind, value),) = rtnl.attribute_pairs(packed)
    assert kind == 18
    assert list(rtnl.attribute_pairs(value)) == pairs


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes) -> None:
    """A malformed message ends early; it never loops and never raises."""
    assert all(kind <= rtnl.NLA_TYPE_MASK for kind, _ in rtnl.attribute_pairs(data))
    assert len(list(rtnl.messages(data))) <= len(data) // rtnl.HEADER.size


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.binary(max_size=50))))
def test_messages_of_one_datagram(parts: list[tuple[int, int, bytes]]) -> None:
    data = b""
    for kind, sequence, body in parts:
        data += rtnl.HEADER.pack(rtnl.HEADER.size + len(body), kind, 0, sequence, 0) + body + bytes(-len(body) % 4)
    assert [(one.kind, one.sequence, one.body) for one in rtnl.messages(data)] == parts


@pytest.mark.parametrize(("bytes_", "value"), [(b"", 0), (b"\7", 7), (struct.pack("=H", 500), 500)])
def test_numbers_of_any_width(bytes_: bytes, value: int) -> None:
    assert rtnl.number(bytes_) == value


def ack(code: int, tail: bytes = b"", flags: int = 0) -> rtnl.Message:
    return rtnl.Message(
        rtnl.NLMSG_ERROR, flags, 1, struct.pack("=i", -code) + rtnl.HEADER.pack(20, 16, 0, 1, 0) + tail
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ack(0), (0, "")),
        (ack(errno.EPERM), (errno.EPERM, "")),
        (ack(17, rtnl.text(1, "because"), rtnl.NLM_F_ACK_TLVS | rtnl.NLM_F_CAPPED), (17, "because")),
        (ack(17, b"body" + rtnl.text(1, "because"), rtnl.NLM_F_ACK_TLVS), (17, "because")),
        (rtnl.Message(rtnl.NLMSG_DONE, 0, 1, struct.pack("=i", -errno.EINTR)), (errno.EINTR, "")),
        (rtnl.Message(rtnl.NLMSG_DONE, 0, 1, b""), (0, "")),
    ],
)
def test_acknowledgements(message: rtnl.Message, expected: tuple[int, str]) -> None:
    assert rtnl.acknowledgement(message) == expected


def test_errors_name_operation_interface_and_reason() -> None:
    error = NetlinkError(errno.EEXIST, "make veth interface", "veth0", "name is taken")
    assert str(error) == "cannot make veth interface `veth0`: File exists (name is taken)"
    assert str(NetlinkError(errno.EPERM, "list routes")) == "cannot list routes: Operation not permitted"


@pytest.mark.root
def test_the_kernel_explains_itself(netns_fd: int) -> None:
    with Socket(netns_fd) as socket, pytest.raises(NetlinkError) as caught:
        link.create(socket, link.Kind("no-such-kind"), Settings(name="x0"))
    assert caught.value.errno == errno.EOPNOTSUPP
    assert str(caught.value).startswith("cannot make no-such-kind interface `x0`: Operation not supported (")


@pytest.mark.root
def test_a_socket_stays_in_its_namespace(netns_fd: int) -> None:
    own = os.readlink("/proc/thread-self/ns/net")
    with Socket(netns_fd) as there, Socket() as here:
        assert os.readlink("/proc/thread-self/ns/net") == own
        link.create(there, link.bridge(), Settings(name="only-there"))
        assert link.find(there, "only-there")
        assert link.find(here, "only-there") is None


@pytest.mark.root
def test_a_dump_is_longer_than_one_datagram(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        for number in range(60):
            link.create(socket, link.bridge(), Settings(name=f"many{number}"))
        assert {one.name for one in link.dump(socket)} >= {f"many{number}" for number in range(60)}
        assert link.get(socket, "many7").name == "many7", "the answers of the dump are used up"


@pytest.mark.root
def test_the_first_refusal_of_a_datagram_is_told(netns_fd: int) -> None:
    """The kernel goes on after it: what comes later is done as well."""
    taken, other = (link.creating(link.bridge(), Settings(name=name)) for name in ("br0", "br1"))
    with Socket(netns_fd) as socket:
        socket.perform(taken)
        with pytest.raises(NetlinkError, match="cannot make bridge interface `br0`: File exists"):
            socket.perform(taken, other, link.finding("absent"))
        assert socket.perform(taken._replace(tolerated=(errno.EEXIST,)), link.finding("br1"))
        assert [one.name for one in link.get_all(socket, "br1", "br0")] == ["br1", "br0"]


@pytest.mark.root
def test_one_question_of_several_has_no_answer(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        with pytest.raises(NetlinkError, match="cannot find interface `absent`: No such device"):
            link.get_all(socket, "lo", "absent", "lo")
        assert link.get(socket, "lo").name == "lo", "no answer is left over"


@pytest.mark.root
def test_more_requests_than_fit_into_a_datagram(netns_fd: int) -> None:
    names = [f"many{number}" for number in range(rtnl.PER_DATAGRAM + 9)]
    with Socket(netns_fd) as socket:
        socket.perform(*(link.creating(link.bridge(), Settings(name=name)) for name in names))
        assert {one.name for one in link.dump(socket)} >= set(names)
