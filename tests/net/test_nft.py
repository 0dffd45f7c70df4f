"""The element codec against the `nft` program, and who may delete what."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cni_provision.net import link, netns, nfnetlink, nft, spoofcheck
from cni_provision.net.nfnetlink import NfnetlinkError
from cni_provision.net.nft import Element, Goto

A, B = nft.owner("pods", "a", "eth0"), nft.owner("pods", "b", "eth0")
SCRIPT = """
add table inet things
add chain inet things there
add map inet things ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
add map inet things sources6 { type ipv6_addr : verdict; }
add set inet things plain { type ipv4_addr; }
add set inet things allowed { type ifname . ether_addr; }
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
    assert set(table.sets()) == {"ports", "sources6", "plain", "allowed"}
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


ENTRIES = st.dictionaries(
    st.tuples(st.sampled_from(["tcp", "udp", "sctp"]), st.integers(1, 65535)),
    st.tuples(st.ip_addresses(v=4), st.integers(1, 65535), st.text("0123456789abcdef", min_size=32, max_size=32)),
    min_size=1,
    max_size=12,
)
NUMBER = {"tcp": 6, "udp": 17, "sctp": 132}


def as_elements(entries: dict) -> list[Element]:
    return [
        Element(
            "ports",
            struct.pack("!B3xH2x", NUMBER[protocol], port),
            address.packed + struct.pack("!H2x", target),
            owner,
        )
        for (protocol, port), (address, target, owner) in entries.items()
    ]


@pytest.mark.root
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(entries=ENTRIES)
def test_nft_and_we_read_each_other(table: nft.Table, entries: dict) -> None:
    mine = as_elements(entries)
    table.add(mine)
    shown = {
        tuple(key["elem"]["val"]["concat"]): (*value["concat"], key["elem"]["comment"])
        for key, value in listed("map", "ports")
    }
    assert shown == {key: (str(address), port, owner) for key, (address, port, owner) in entries.items()}
    nft.run("flush map inet things ports\n")
    written = ", ".join(
        f'{protocol} . {port} comment "{owner}" : {address} . {target}'
        for (protocol, port), (address, target, owner) in entries.items()
    )
    nft.run(f"add element inet things ports {{ {written} }}\n")
    assert sorted(table.dump("ports"), key=str) == sorted(mine, key=str)
    assert [table.get("ports", each.key) for each in mine] == mine
    nft.run("flush map inet things ports\n")


FRAMES = st.dictionaries(
    st.tuples(
        st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=15),
        st.binary(min_size=6, max_size=6).map(link.mac_text),
    ),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    min_size=1,
    max_size=12,
)


@pytest.mark.root
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(frames=FRAMES)
def test_nft_and_we_read_each_others_names_and_mac_addresses(table: nft.Table, frames: dict) -> None:
    mine = [spoofcheck.elements(owner, *frame)[1] for frame, owner in frames.items()]
    table.add(mine)
    shown = {tuple(each["elem"]["val"]["concat"]): each["elem"]["comment"] for each in listed("set", "allowed")}
    assert shown == frames
    nft.run("flush set inet things allowed\n")
    written = ", ".join(f'"{name}" . {mac} comment "{owner}"' for (name, mac), owner in frames.items())
    nft.run(f"add element inet things allowed {{ {written} }}\n")
    assert sorted(table.dump("allowed"), key=str) == sorted(mine, key=str)
    nft.run("flush set inet things allowed\n")


SOURCES = st.dictionaries(st.ip_addresses(v=6), st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1)


@pytest.mark.root
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(sources=SOURCES)
def test_nft_and_we_read_each_others_verdicts(table: nft.Table, sources: dict) -> None:
    mine = [Element("sources6", address.packed, Goto("there"), owner) for address, owner in sources.items()]
    table.add(mine)
    shown = {
        ip_address(key["elem"]["val"]): (key["elem"]["comment"], value) for key, value in listed("map", "sources6")
    }
    assert shown == {address: (owner, {"goto": {"target": "there"}}) for address, owner in sources.items()}
    nft.run("flush map inet things sources6\n")
    written = ", ".join(f'{address} comment "{owner}" : goto there' for address, owner in sources.items())
    nft.run(f"add element inet things sources6 {{ {written} }}\n")
    assert sorted(table.dump("sources6"), key=str) == sorted(mine, key=str)
    nft.run("flush map inet things sources6\n")


@pytest.mark.root
@pytest.mark.parametrize(
    ("element", "said"),
    [
        (Element("nowhere", b"\1\2\3\4"), "cannot add to things nowhere: No such file or directory (`nowhere`)"),
        (
            Element("sources6", SOURCE.key, Goto("nobody")),
            "cannot add to things sources6: No such file or directory",
        ),
        (Element("plain", b"\1\2"), "cannot add to things plain: Invalid argument"),
    ],
)
def test_a_refused_batch_names_what_the_kernel_points_at(table: nft.Table, element: Element, said: str) -> None:
    with pytest.raises(NfnetlinkError) as caught:
        table.add([PLAIN, element])
    assert str(caught.value) == said
    assert table.dump("plain") == []


@pytest.mark.root
def test_a_thread_keeps_one_socket_of_its_own_namespace(table: nft.Table, make_netns: Callable[[], int]) -> None:
    with nfnetlink.borrowed() as first, nfnetlink.borrowed() as nested:
        assert nested is not first
    with nfnetlink.borrowed() as again:
        kept = again
    with nfnetlink.borrowed() as again:
        assert again is kept
    with netns.inside(make_netns()), nft.table("things") as elsewhere:
        assert elsewhere.sets() == ()
    with pytest.raises(KeyError), nfnetlink.borrowed() as broken:
        raise KeyError
    with nfnetlink.borrowed() as fresh:
        assert fresh is not broken


@pytest.mark.root
def test_rebuilding_adds_what_is_missing_and_leaves_what_is_anothers(table: nft.Table) -> None:
    nft.run("add rule inet things there accept")
    strangers = Element("plain", ip_address("10.0.0.8").packed, None, B)
    table.add([PORT, SOURCE, strangers, Element("ports", b"\x11\0\0\0\0\x35\0\0", PORT.data, A)])
    wanted = [PORT, SOURCE, PLAIN, Element("plain", strangers.key, None, A)]
    moved = Element("ports", b"\x11\0\0\0\0\x35\0\0", ip_address("10.0.0.7").packed + b"\0\x35\0\0", A)
    script = "add rule inet things there accept\n"
    assert nft.rebuild(table, script, ["there"], [*wanted, moved]) == nft.Rebuilt("things", 0, 2)
    assert nft.rebuild(table, script, ["there"], [*wanted, moved]) == nft.Rebuilt("things", 0, 0)
    assert table.get("plain", strangers.key) == strangers
    assert table.get("ports", moved.key) == moved
    nft.run("flush chain inet things there\n")
    assert nft.rebuild(table, script, ["there"], wanted) == nft.Rebuilt("things", 1, 0)
