from __future__ import annotations

import socket as sockets
import struct
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.tcmsg import cls_u32, tcmsg

from cni_provision.net import filter, link, qdisc, rtnl
from cni_provision.net.filter import DESTINATION, SOURCE, Filter
from cni_provision.net.link import Kind, Link, Settings
from cni_provision.net.rtnl import Socket

U32 = st.integers(0, 2**32 - 1)
SIDES = st.sampled_from([SOURCE, DESTINATION])
V4 = st.tuples(U32, st.integers(0, 32)).map(lambda pair: ip_network((pair[0], pair[1]), strict=False))
V6 = st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(lambda pair: ip_network(pair, strict=False))


def options_read_by_pyroute2(wanted: Filter) -> object:
    read = cls_u32.options(data=rtnl.attribute(qdisc.TCA_OPTIONS, wanted.options))
    read.decode()
    return read


@given(U32, st.integers(1, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_pyroute2_reads_our_messages(parent: int, priority: int, protocol: int) -> None:
    body = Filter(parent, protocol, priority, b"").encode(7)
    seen = tcmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), filter.RTM_NEWTFILTER, 0, 1, 0) + body)
    seen.decode()
    assert (seen["index"], seen["parent"], seen["info"]) == (7, parent, priority << 16 | sockets.htons(protocol))
    assert seen.get_attr("TCA_KIND") == "u32"


@given(st.integers(1, 2**31 - 1))
def test_pyroute2_reads_our_redirections(index: int) -> None:
    wanted = filter.redirection(0xFFFF0000, Link(index, "ifb0"))
    seen = options_read_by_pyroute2(wanted)
    action = seen.get_attr("TCA_U32_ACT").get_attr("TCA_ACT_PRIO_1")
    parameters = action.get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
    assert action.get_attr("TCA_ACT_KIND") == "mirred"
    assert (parameters["ifindex"], parameters["eaction"], parameters["action"]) == (index, 1, 4)
    (key,) = seen.get_attr("TCA_U32_SEL")["keys"]
    assert (key["key_mask"], key["key_val"], key["key_off"]) == (0, 0, 0)
    assert filter.redirected(wanted.options) == index


def keys_read_by_pyroute2(options: bytes) -> list[tuple[int, int, int]]:
    """(mask, value, offset) by pyroute2's layout of a key; its own decoder looks for keys four bytes too early."""
    _, data = filter.classified(options)
    layout = cls_u32.options.u32_sel.u32_key.fields
    formats = [f if f[0] == ">" else f"={f}" for _, f in layout]
    rows = [data[at : at + 16] for at in range(0, len(data), 16)]
    return [tuple(struct.unpack(f, row[4 * n : 4 * n + 4])[0] for n, f in enumerate(formats[:3])) for row in rows]


@given(V4 | V6, SIDES, U32)
def test_pyroute2_reads_our_classifications(subnet, side: str, class_id: int) -> None:
    start = {4: {SOURCE: 12, DESTINATION: 16}, 6: {SOURCE: 8, DESTINATION: 24}}[subnet.version][side]
    wanted = filter.classification(1 << 16, subnet, side, class_id)
    seen = options_read_by_pyroute2(wanted)
    words = zip(*(iter_words(one.packed) for one in (subnet.netmask, subnet.network_address)), strict=True)
    assert keys_read_by_pyroute2(wanted.options) == [(*pair, start + 4 * n) for n, pair in enumerate(words)]
    assert seen.get_attr("TCA_U32_CLASSID") == class_id
    selector = seen.get_attr("TCA_U32_SEL")
    assert (selector["flags"], selector["nkeys"]) == (1, {4: 1, 6: 4}[subnet.version])
    assert filter.redirected(wanted.options) == 0


def iter_words(packed: bytes) -> list[int]:
    return [int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4)]


@pytest.mark.root
def test_the_kernel_gives_back_what_it_got(netns_fd: int) -> None:
    subnets = [ip_network(text) for text in ("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/33")]
    wanted = [filter.classification(qdisc.handle(1), one, SOURCE, qdisc.handle(1, 48)) for one in subnets]
    with Socket(netns_fd) as socket:
        link.create(socket, Kind("ifb"), Settings(name="ifb7"))
        lo, ifb = link.get(socket, "lo"), link.get(socket, "ifb7")
        redirection = filter.redirection(qdisc.ingress().handle, ifb)
        socket.perform(qdisc.adding(lo, qdisc.ingress()), filter.adding(lo, redirection))
        assert ifb.index in map(filter.redirected, filter.dump(socket, lo, qdisc.ingress().handle))
        socket.perform(qdisc.adding(ifb, qdisc.htb(0, 10)), *(filter.adding(ifb, one) for one in wanted))
        there = {filter.classified(one) for one in filter.dump(socket, ifb, qdisc.handle(1))}
        assert {filter.classified(one.options) for one in wanted} <= there
