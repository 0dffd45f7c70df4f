from __future__ import annotations

from collections.abc import Iterator

import pytest

from cni_provision.net import netns, nft, spoofcheck

pytestmark = pytest.mark.root
A, B, OTHER = nft.owner("pods", "a", "eth0"), nft.owner("pods", "b", "eth0"), nft.owner("other", "a", "eth0")
MAC = "02:00:00:00:00:01"


@pytest.fixture(autouse=True)
def inside(netns_fd: int) -> Iterator[None]:
    with netns.inside(netns_fd):
        yield


def test_what_was_ensured_is_there_until_it_is_removed() -> None:
    assert spoofcheck.missing(A, "veth1", MAC) != []
    spoofcheck.ensure(A, "veth1", MAC)
    spoofcheck.ensure(B, "veth2", MAC)
    assert spoofcheck.missing(A, "veth1", MAC) == []
    assert spoofcheck.missing(A, "veth1", "02:00:00:00:00:02") == [
        "nftables set `cni_spoofcheck allowed` has no entry of this attachment for `veth1`"
    ]
    spoofcheck.remove(A)
    spoofcheck.remove(A)
    assert len(spoofcheck.missing(A, "veth1", MAC)) == 2
    assert spoofcheck.missing(B, "veth2", MAC) == []


def test_the_rule_is_readable() -> None:
    spoofcheck.ensure(A, "veth1", MAC)
    listed = nft.run(f"list table bridge {spoofcheck.TABLE}\n")
    assert f'"veth1" . {MAC} comment "{A}"' in listed
    assert "iifname @guarded iifname . ether saddr != @allowed drop" in listed


def test_a_name_that_a_lost_attachment_had() -> None:
    spoofcheck.ensure(A, "veth1", MAC)
    spoofcheck.ensure(B, "veth1", MAC)
    spoofcheck.remove(A)
    assert spoofcheck.missing(B, "veth1", MAC) == []


def test_removing_before_anything_was_made() -> None:
    spoofcheck.remove(A)
    spoofcheck.gc("pods", set())


def test_gc_is_about_one_network() -> None:
    for owner, port in ((A, "veth1"), (B, "veth2"), (OTHER, "veth3")):
        spoofcheck.ensure(owner, port, MAC)
    spoofcheck.gc("pods", {B})
    assert spoofcheck.missing(A, "veth1", MAC) != []
    assert spoofcheck.missing(B, "veth2", MAC) == []
    assert spoofcheck.missing(OTHER, "veth3", MAC) == []
