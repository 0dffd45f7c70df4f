"""Leases: the choice by data, the store on a real directory, shared with the reference's rules."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import AbstractContextManager
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cni_provision.net import lease
from cni_provision.net.lease import Attachment, NotAvailable, Range

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/net/candidates.yaml").read_text())
ONE, OTHER = Attachment("one", "eth0"), Attachment("other", "eth0")


def a_range(subnet: str, start: str = "", end: str = "", gateway: str = "") -> Range:
    network = ip_network(subnet)
    first = network.network_address + 1
    last = ip_address(end) if end else lease.last_usable(network)
    return Range(network, ip_address(start) if start else first, last, ip_address(gateway) if gateway else first)


SMALL = (a_range("10.0.0.0/29"),)


def opened(directory: Path) -> AbstractContextManager[lease.Store]:
    """A store with an index of its own, beside the directory."""
    return lease.opened(str(directory), f"{directory}-index")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_candidates(case: dict) -> None:
    ranges = tuple(a_range(**each) for each in case["ranges"])
    last = ip_address(case["last"]) if "last" in case else None
    found = [str(address) for address, _ in itertools.islice(lease.candidates(ranges, last), 10)]
    assert found[: len(case["first"])] == case["first"]
    if "count" in case:
        assert len(found) == case["count"] == sum(each.size for each in ranges)


def test_a_huge_range_costs_what_its_leases_cost(tmp_path: Path) -> None:
    ranges = (a_range("fd00::/16"),)
    with opened(tmp_path) as store:
        given = [lease.allocate(store, 0, ranges, Attachment(f"c{n}", "eth0"))[0] for n in range(50)]
    assert given[:2] == [ip_interface("fd00::2/16"), ip_interface("fd00::3/16")]


def test_files_are_those_of_the_reference(tmp_path: Path) -> None:
    directory = tmp_path / "networks" / "pods"
    with opened(directory) as store:
        assert lease.allocate(store, 1, SMALL, ONE) == (ip_interface("10.0.0.2/29"), ip_address("10.0.0.1"))
        lease.allocate(store, 0, (a_range("fd00::/64"),), ONE)
    files = {file.name: file.read_bytes() for file in directory.iterdir()}
    assert files == {
        "10.0.0.2": b"one\r\neth0",
        "fd00::2": b"one\r\neth0",
        "last_reserved_ip.0": b"fd00::2",
        "last_reserved_ip.1": b"10.0.0.2",
        "lock": b"",
    }
    assert stat.S_IMODE((directory / "10.0.0.2").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_an_attachment_gets_one_address_of_a_set(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        lease.allocate(store, 0, SMALL, ONE)
        with pytest.raises(NotAvailable, match=r"10\.0\.0\.2 has been allocated to one, duplicate allocation"):
            lease.refuse_second(SMALL, store.owned(ONE), ONE)
        lease.refuse_second((a_range("10.9.0.0/24"),), store.owned(ONE), ONE)
        lease.refuse_second(SMALL, store.owned(Attachment("one", "eth1")), ONE)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("10.0.0.1", "requested ip 10.0.0.1 is subnet's gateway"),
        ("10.0.0.2", "requested IP address 10.0.0.2 is not available in range set 10.0.0.1-10.0.0.6"),
        ("10.0.7.2", "10.0.7.2 not in range set 10.0.0.1-10.0.0.6"),
    ],
)
def test_requests_that_cannot_be_met(tmp_path: Path, requested: str, message: str) -> None:
    with opened(tmp_path) as store:
        lease.allocate(store, 0, SMALL, OTHER)
        with pytest.raises(NotAvailable) as caught:
            lease.allocate(store, 0, SMALL, ONE, ip_address(requested))
    assert str(caught.value) == message


def test_exhaustion(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(5):
            lease.allocate(store, 0, SMALL, Attachment(f"c{number}", "eth0"))
        with pytest.raises(NotAvailable, match=r"no IP addresses available in range set: 10\.0\.0\.1-10\.0\.0\.6"):
            lease.allocate(store, 0, SMALL, ONE)
        store.release(Attachment("c3", "eth0"), store.owned(Attachment("c3", "eth0")))
        assert lease.allocate(store, 0, SMALL, ONE)[0] == ip_interface("10.0.0.5/29")


@pytest.mark.parametrize("content", [b"", b"\0" * 12, b" \r\n"])
def test_what_a_crash_left_is_free_again(tmp_path: Path, content: bytes) -> None:
    for last in range(2, 7):
        (tmp_path / f"10.0.0.{last}").write_bytes(content)
    with opened(tmp_path) as store:
        assert store.owned(ONE) == ()
        assert lease.allocate(store, 0, SMALL, ONE)[0] == ip_interface("10.0.0.2/29")


def test_release_takes_only_what_is_ones_own(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        mine, _ = lease.allocate(store, 0, SMALL, ONE)
        store.release(OTHER, [mine.ip])
        assert store.owned(ONE) == (mine.ip,)
        store.release(ONE, [mine.ip])
        store.release(ONE, [mine.ip])
        assert store.owned(ONE) == ()
        assert store.last(0) == mine.ip


def test_old_files_hold_the_container_id_alone(tmp_path: Path) -> None:
    (tmp_path / "10.0.0.3").write_text(" one \n")
    with opened(tmp_path) as store:
        assert store.owned(ONE) == (ip_address("10.0.0.3"),)
        assert store.retain({ONE}) == ()
        assert store.retain({OTHER}) == (ip_address("10.0.0.3"),)
    assert sorted(os.listdir(tmp_path)) == ["lock"]


def test_retain_keeps_the_valid_and_what_is_no_lease(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("not a lease")
    with opened(tmp_path) as store:
        kept, _ = lease.allocate(store, 0, SMALL, ONE)
        stale, _ = lease.allocate(store, 0, SMALL, OTHER)
        assert store.retain({ONE}) == (stale.ip,)
        assert store.names() == {str(kept.ip)}
    assert (tmp_path / "README").exists()


def test_a_failed_write_leaves_no_lease(tmp_path: Path) -> None:
    (tmp_path / "last_reserved_ip.0").mkdir()
    with opened(tmp_path) as store:
        with pytest.raises(IsADirectoryError):
            lease.allocate(store, 0, SMALL, ONE)
        assert store.names() == frozenset()


def test_the_lock_is_one_for_threads_and_processes(tmp_path: Path) -> None:
    flock = [sys.executable, "-c", "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"]
    entered = threading.Event()

    def enter() -> None:
        with opened(tmp_path):
            entered.set()

    with opened(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        assert subprocess.run([*flock, str(tmp_path / "lock")], capture_output=True).returncode != 0
        assert not entered.wait(0.05)
    thread.join(5)
    assert entered.is_set()


def scanned(directory: Path, attachment: Attachment) -> set[str]:
    """The truth: what the files say."""
    files = [file for file in directory.iterdir() if file.name[0].isdigit()]
    return {file.name for file in files if file.read_bytes().decode() == attachment.content}


CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "delete", "foreign add", "foreign delete", "collect"]), st.integers(0, 4)),
    max_size=25,
)


@settings(deadline=None)
@given(CHANGES)
def test_the_index_is_never_wrong_whoever_changes_the_directory(changes: list[tuple[str, int]]) -> None:
    ranges = (a_range("10.0.0.0/28"),)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder, "pods")
        directory.mkdir()
        for what, number in changes:
            who = Attachment(f"c{number}", "eth0")
            if what == "foreign add":
                (directory / f"10.0.0.{number + 9}").write_text(who.content)
                continue
            if what == "foreign delete":
                for name in scanned(directory, who):
                    (directory / name).unlink()
                continue
            with opened(directory) as store:
                assert set(map(str, store.owned(who))) == scanned(directory, who)
                if what == "delete":
                    store.release(who, store.owned(who))
                elif what == "collect":
                    store.retain({Attachment(f"c{kept}", "eth0") for kept in range(number)})
                elif not store.owned(who):
                    lease.allocate(store, 0, ranges, who)


def test_an_index_that_lies_is_seen_through(tmp_path: Path) -> None:
    directory = tmp_path / "pods"
    with opened(directory) as store:
        store.owned(ONE)
        lease.allocate(store, 0, SMALL, ONE)
    content = next(file for file in Path(f"{directory}-index").rglob("*") if len(file.name) == 2)
    content.write_text(content.read_text().replace("10.0.0.2", "10.0.0.5") + "nonsense\n\0\xff 1 2 3")
    with opened(directory) as store:
        assert store.owned(ONE) == (ip_address("10.0.0.2"),)


def test_without_a_place_for_the_index_everything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for number in range(2, 5):
        with lease.opened(str(tmp_path / "pods"), str(tmp_path / "file")) as store:
            who = Attachment(f"c{number}", "eth0")
            assert store.owned(who) == ()
            given, _ = lease.allocate(store, 0, SMALL, who)
            assert store.owned(who) == (given.ip,)


def test_who_has_nothing_costs_no_look_at_other_leases(tmp_path: Path) -> None:
    directory = tmp_path / "pods"
    with opened(directory) as store:
        store.owned(ONE)
        lease.allocate(store, 0, SMALL, ONE)
    (directory / "10.0.0.2").write_text(OTHER.content)  # which the directory's own time does not show
    with opened(directory) as store:
        assert store.owned(OTHER) == ()
