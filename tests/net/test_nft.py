"""The element codec against the `nft` program, and who may delete what."""

from __future__ import annotations

import errno
import json
import subprocess
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.net import netns, nft
from cni_provision.net.nfnetlink import NfnetlinkError
from cni_provision.net.nft import Element, Goto

A, B = nft.owner("pods", "a", "eth0"), nft.owner("pods", "b", "eth0")
SCRIPT = """
add table inet things
add chain inet things there
add map inet things ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
add map inet things sources6 { type ipv6_addr : verdict; }
add set inet things plain { type ipv4_addr; }
"""
PORT = Element("ports", bytes((6, 0, 0, 0)) + b"\x1f\x90\0\0", ip_address("10.0.0.2").packed + b"\0\x50\0\0", A)
SOURCE = Element("sources6", ip_address("fd00::5").packed, Goto("there"), A)
PLAIN = Element("plain", ip_address("10.0.0.9").packed, None, A)

elements = st.builds(
    Element,
    st.just("some"),
    st.binary(min_size=1, max_size=64),
    st.none() | st.binary(min_size=1, max_size=64) | st.builds(Goto, st.text("abc-/.", min_size=1, max_size=40)),
    st.just("") | st.text("0123456789abcdef", min_size=32, max_size=32),
)


@given(elements)
def test_decode_is_the_inverse_of_encode(element: Element) -> None:
    assert nft.decode("some", nft.encode(element)) == element


def test_an_owner_tells_its_network() -> None:
    assert len(A) == 32
    assert A.startswith(nft.of_network("pods"))
    ids = [("pods", "a", "eth0"), ("pods", "a", "eth1"), ("pods", "b", "eth0"), ("pod", "sa", "eth0")]
    assert len({nft.owner(*each) for each in ids}) == 4


@pytest.fixture
def table(netns_fd: int) -> Iterator[nft.Table]:
    with netns.inside(netns_fd):
        nft.run(SCRIPT)
        with nft.table("things") as table:
            yield table


def listed(kind: str, name: str) -> list:
    argv = ["nft", "-j", "list", kind, "inet", "things", name]
    objects = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["nftables"]
    return next(each[kind] for each in objects if kind in each).get("elem", [])


@pytest.mark.root
def test_nft_reads_what_we_write(table: nft.Table) -> None:
    table.add([PORT, SOURCE, PLAIN])
    key = {"elem": {"val": {"concat": ["tcp", 8080]}, "comment": A}}
    assert listed("map", "ports") == [[key, {"concat": ["10.0.0.2", 80]}]]
    key = {"elem": {"val": "fd00::5", "comment": A}}
    assert listed("map", "sources6") == [[key, {"goto": {"target": "there"}}]]
    assert listed("set", "plain") == [{"elem": {"val": "10.0.0.9", "comment": A}}]


@pytest.mark.root
def test_we_read_what_nft_writes(table: nft.Table) -> None:
    nft.run(
        f'add element inet things ports {{ tcp . 8080 comment "{A}" : 10.0.0.2 . 80 }}\n'
        f'add element inet things sources6 {{ fd00::5 comment "{A}" : goto there }}\n'
        f"add element inet things plain {{ 10.0.0.9 }}\n"
    )
    assert table.get("ports", PORT.key) == PORT
    assert table.dump("ports") == [PORT]
    assert table.dump("sources6") == [SOURCE]
    assert table.dump("plain") == [Element("plain", PLAIN.key)]
    assert set(table.sets()) == {"ports", "sources6", "plain"}
    assert table.chains() == ("there",)


@pytest.mark.root
def test_what_is_not_there(table: nft.Table) -> None:
    assert table.get("ports", PORT.key) is None
    assert table.get("absent", b"1234") is None
    assert table.dump("absent") == []
    table.remove([("ports", PORT.key), ("absent", b"1234")], {A})
    with nft.table("nowhere") as nowhere:
        assert nowhere.sets() == nowhere.chains() == ()
        nowhere.delete_if_empty()
        with pytest.raises(NfnetlinkError, match="cannot add to nowhere ports: No such file"):
            nowhere.add([PORT])


@pytest.mark.root
def test_a_key_is_made_once_and_a_batch_is_all_or_nothing(table: nft.Table) -> None:
    table.add([PORT])
    with pytest.raises(NfnetlinkError) as caught:
        table.add([SOURCE, Element(PORT.set, PORT.key, PORT.data, B)])
    assert caught.value.errno == errno.EEXIST
    assert table.get(SOURCE.set, SOURCE.key) is None
    assert table.get(PORT.set, PORT.key) == PORT


@pytest.mark.root
def test_more_refusals_than_fit_into_the_socket(table: nft.Table) -> None:
    many = [Element("absent", number.to_bytes(4, "big")) for number in range(1500)]
    with pytest.raises(NfnetlinkError, match="cannot add to things absent") as caught:
        table.add(many)
    assert caught.value.errno == errno.ENOENT
    table.add([PORT])
    assert table.dump("ports") == [PORT]


@pytest.mark.root
def test_only_the_owner_removes(table: nft.Table) -> None:
    table.add([PORT, SOURCE])
    keys = [(PORT.set, PORT.key), (SOURCE.set, SOURCE.key)]
    assert table.remove(keys, {B}) == ()
    assert table.remove(keys, {B, A}) == (PORT, SOURCE)
    assert table.remove(keys, {A}) == ()


@pytest.mark.root
def test_many_are_removed_in_several_batches(table: nft.Table) -> None:
    many = [Element("plain", number.to_bytes(4, "big"), None, A) for number in range(1, 1001)]
    table.add(many)
    assert len(table.remove([(each.set, each.key) for each in many], {A})) == 1000
    assert table.dump("plain") == []


@pytest.mark.root
def test_removing_while_others_change_the_rules(table: nft.Table, netns_fd: int) -> None:
    """Every look that somebody has overtaken is repeated; what they made stays."""
    stop = threading.Event()

    def disturb() -> None:
        with netns.inside(netns_fd), nft.table("things") as other:
            mine = Element("plain", b"\xff\0\0\1", None, B)
            while not stop.is_set():
                other.add([mine])
                other.remove([(mine.set, mine.key)], {B})

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for number in range(40):
            mine = Element("plain", number.to_bytes(4, "big"), None, A)
            table.add([mine])
            assert table.remove([(mine.set, mine.key)], {A}) == (mine,)
    finally:
        stop.set()
        thread.join(10)
    assert table.dump("plain") == []


@pytest.mark.root
def test_a_table_goes_when_its_last_element_has_gone(table: nft.Table) -> None:
    table.add([PLAIN])
    table.delete_if_empty()
    assert table.dump("plain") == [PLAIN]
    table.remove([(PLAIN.set, PLAIN.key)], {A})
    table.delete_if_empty()
    assert subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=True).stdout == b""


@pytest.mark.root
def test_chains_without_rules(table: nft.Table) -> None:
    assert table.unruly(["there", "absent"]) == ("there", "absent")
    nft.run("add rule inet things there accept")
    assert table.unruly(["there", "absent"]) == ("absent",)


@pytest.mark.root
def test_scripts_are_one_transaction(table: nft.Table) -> None:
    with pytest.raises(nft.NftError, match=r"nft: .*No such file or directory"):
        nft.run("add chain inet things new\nadd rule inet things absent accept\n")
    nft.run("add chain inet things new\n", dry=True)
    assert table.chains() == ("there",)
    with pytest.raises(nft.NftError, match="syntax error"):
        nft.run("add nonsense", dry=True)


def test_the_lock_is_exclusive(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "nft.lock")
    entered = threading.Event()

    def enter() -> None:
        with nft.lock(path):
            entered.set()

    with nft.lock(path):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(5)
    assert entered.is_set()
