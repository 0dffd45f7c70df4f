from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.tcmsg import sched_htb, sched_tbf, tcmsg

from cni_provision.net import link, qdisc, rtnl
from cni_provision.net.link import Kind, Settings
from cni_provision.net.qdisc import Qdisc, Shape
from cni_provision.net.rtnl import NetlinkError, Socket

U32 = st.integers(0, 2**32 - 1)
INDEXES = st.integers(1, 2**31 - 1)
SHAPES = st.builds(Shape, rate=st.integers(1, 2**40), burst=st.integers(1, 2**32 - 1))
QDISCS = st.builds(Qdisc, kind=st.text("abcdefgh_", min_size=1, max_size=15), handle=U32, parent=U32)


def read_by_pyroute2(body: bytes) -> tcmsg:
    message = tcmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), qdisc.RTM_NEWQDISC, 0, 1, 0) + body)
    message.decode()
    return message


def options_read_by(codec: type, found: Qdisc) -> object:
    """The options of a qdisc as pyroute2's codec for its kind reads them."""
    read = codec(data=rtnl.attribute(qdisc.TCA_OPTIONS, found.options))
    read.decode()
    return read


@given(QDISCS, INDEXES)
def test_pyroute2_reads_our_messages(wanted: Qdisc, index: int) -> None:
    seen = read_by_pyroute2(wanted.encode(index))
    assert (seen["index"], seen["handle"], seen["parent"]) == (index, wanted.handle, wanted.parent)
    assert seen.get_attr("TCA_KIND") == wanted.kind


@given(QDISCS, INDEXES)
def test_we_read_the_messages_of_pyroute2(wanted: Qdisc, index: int) -> None:
    message = tcmsg()
    message.update(index=index, handle=wanted.handle, parent=wanted.parent)
    message["attrs"] = [["TCA_KIND", wanted.kind]]
    message.encode()
    assert qdisc.decode(bytes(message.data)[rtnl.HEADER.size :]) == wanted


@given(SHAPES)
def test_pyroute2_reads_our_token_buckets(shape: Shape) -> None:
    seen = options_read_by(sched_tbf.options, qdisc.tbf(shape)).get_attr("TCA_TBF_PARMS")
    assert (seen["rate"], seen["limit"], seen["buffer"]) == (min(shape.rate, 2**32 - 1), shape.limit, shape.ticks)
    assert qdisc.described(qdisc.tbf(shape)) == (shape.rate, shape.ticks, shape.limit)


@given(SHAPES, st.integers(1, 2**16 - 1))
def test_pyroute2_reads_our_classes(shape: Shape, minor: int) -> None:
    wanted = qdisc.htb_class(minor, shape)
    seen = options_read_by(sched_htb.options, wanted).get_attr("TCA_HTB_PARMS")
    rate = min(shape.rate, 2**32 - 1)
    assert (seen["rate"], seen["ceil"], seen["buffer"], seen["cbuffer"]) == (rate, rate, shape.ticks, shape.ticks)
    assert (wanted.parent, wanted.handle) == (1 << 16, 1 << 16 | minor)
    assert qdisc.described(wanted) == (shape.rate, shape.ticks, 0)


@given(U32)
def test_pyroute2_reads_our_hierarchies(default: int) -> None:
    seen = options_read_by(sched_htb.options, qdisc.htb(default, 1000)).get_attr("TCA_HTB_INIT")
    assert (seen["version"], seen["rate2quantum"], seen["defcls"]) == (3, 10, default)


@pytest.mark.parametrize(
    ("shape", "ticks", "limit"),
    [
        (Shape(1000, 1000), 15625000, 1025),
        (Shape(125000, 0xFFFFFFFF // 8), 0xFFFFFFFF, 536874036),  # what a kubelet asks for: too long for 32 bits
        (Shape(2**38, 2**32 - 1), 244125, 2**32 - 1),
    ],
)
def test_times_and_limits(shape: Shape, ticks: int, limit: int) -> None:
    assert (shape.ticks, shape.limit) == (ticks, limit)


@pytest.mark.root
@pytest.mark.parametrize("shape", [Shape(125000, 65536), Shape(2**33 + 7, 2**22)])
def test_the_kernel_gives_back_what_it_got(netns_fd: int, shape: Shape) -> None:
    with Socket(netns_fd) as socket:
        lo = link.get(socket, "lo")
        assert qdisc.find(socket, lo, qdisc.ROOT) is None
        socket.perform(qdisc.adding(lo, qdisc.tbf(shape)))
        found = qdisc.find(socket, lo, qdisc.ROOT)
        assert (found.kind, qdisc.described(found)) == ("tbf", (shape.rate, shape.ticks, shape.limit))
        with pytest.raises(NetlinkError, match="cannot add tbf to interface `lo`: File exists"):
            socket.perform(qdisc.adding(lo, qdisc.tbf(shape)))
        socket.perform(qdisc.deleting(lo, qdisc.ROOT), qdisc.deleting(lo, qdisc.ROOT))
        assert qdisc.find(socket, lo, qdisc.ROOT) is None
        assert qdisc.find_class(socket, lo, qdisc.handle(1, 48)) is None


@pytest.mark.root
def test_classes_and_their_queues(netns_fd: int) -> None:
    shape = Shape(125000, 65536)
    with Socket(netns_fd) as socket:
        lo = link.get(socket, "lo")
        added = qdisc.adding(lo, qdisc.htb(48, 10)), qdisc.adding_class(lo, qdisc.htb_class(48, shape))
        socket.perform(*added, qdisc.adding(lo, qdisc.queue(48, 7777)))
        found = qdisc.find_class(socket, lo, qdisc.handle(1, 48))
        assert (found.kind, qdisc.described(found)[:2]) == ("htb", (shape.rate, shape.ticks))
        leaf = qdisc.find(socket, lo, qdisc.handle(1, 48))
        assert (leaf.kind, leaf.options) == ("bfifo", struct.pack("=I", 7777))


@pytest.mark.root
def test_an_interface_that_is_gone_has_nothing_to_delete(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        link.create(socket, Kind("ifb"), Settings(name="ifb7"))
        ifb = link.get(socket, "ifb7")
        link.delete(socket, ifb)
        socket.perform(qdisc.deleting(ifb, qdisc.ROOT))
