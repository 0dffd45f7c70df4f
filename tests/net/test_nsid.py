from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg

from cni_provision.net import nsid, rtnl


@given(st.integers(0, 2**31 - 1))
def test_pyroute2_reads_our_question(descriptor: int) -> None:
    body = nsid.encode(descriptor)
    seen = nsidmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), nsid.RTM_GETNSID, 0, 1, 0) + body)
    seen.decode()
    assert seen.get_attr("NETNSA_FD") == descriptor


@given(st.integers(-1, 2**31 - 1))
def test_numbers_have_a_sign(number: int) -> None:
    assert nsid.decode(nsid.MESSAGE + rtnl.u32(nsid.NETNSA_NSID, number % 2**32)) == number
