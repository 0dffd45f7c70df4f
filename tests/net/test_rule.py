from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg

from cni_provision.net import rtnl, rule
from cni_provision.net.rtnl import Socket
from cni_provision.net.rule import Rule

RULES = st.builds(Rule, st.ip_addresses(), st.integers(1, 2**32 - 1), st.integers(0, 2**31))


@given(RULES)
def test_rules_come_back_as_they_were_packed(wanted: Rule) -> None:
    assert rule.decode(rule.encode(wanted)) == wanted


@given(RULES)
def test_pyroute2_reads_our_rules(wanted: Rule) -> None:
    body = rule.encode(wanted)
    seen = fibmsg(rtnl.HEADER.pack(rtnl.HEADER.size + len(body), rule.RTM_NEWRULE, 0, 1, 0) + body)
    seen.decode()
    assert ipaddress.ip_address(seen.get_attr("FRA_SRC")) == wanted.source
    assert (seen["src_len"], seen["action"]) == (wanted.source.max_prefixlen if wanted.source else 0, rule.TO_TABLE)
    assert seen.get_attr("FRA_TABLE") == wanted.table
    assert seen.get_attr("FRA_PRIORITY") == (wanted.priority or None)


@pytest.mark.root
def test_added_shown_and_deleted(netns_fd: int) -> None:
    wanted = [Rule(ipaddress.ip_address("192.0.2.1"), 7), Rule(ipaddress.ip_address("fd00::1"), 70000)]
    with Socket(netns_fd) as socket:
        before = rule.dump(socket)
        socket.perform(*map(rule.adding, wanted))
        assert {(one.source, one.table) for one in rule.dump(socket) if one.source} == {
            (one.source, one.table) for one in wanted
        }
        for _ in range(2):
            socket.perform(*map(rule.deleting, wanted))
        assert rule.dump(socket) == before
        assert {one.source for one in before} == {None}
