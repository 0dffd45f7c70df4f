from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.dhcp import packet, store
from cni_provision.dhcp.lease import Held, Wishes
from cni_provision.dhcp.packet import Packet, Terms
from cni_provision.dhcp.question import Interface

NAMES = st.text("abcxyz0189._-", min_size=1, max_size=20)
HELD = st.builds(
    Held,
    st.builds(Interface, NAMES, NAMES, NAMES, NAMES, st.tuples(st.integers(0, 2**64), st.integers(0, 2**64))),
    st.builds(Wishes, st.dictionaries(st.integers(1, 254), st.binary(max_size=255), max_size=3),
              st.lists(st.integers(1, 254), max_size=4).map(tuple), st.integers(0, 2**32 - 1), st.booleans(), NAMES),
    st.integers(0, 2**32 - 1).map(
        lambda number: Terms(Packet(packet.ANSWER, number, bytes(6), given=IPv4Address(number)))
    ),
    st.floats(0, 1e9),
)  # fmt: skip


@given(HELD)
def test_leases_are_read_as_they_were_written(held: Held) -> None:
    assert store.decode(store.encode(held)) == held


def test_files(tmp_path: Path) -> None:
    folder = str(tmp_path / "leases")
    assert list(store.every(folder)) == []
    terms = Terms(Packet(packet.ANSWER, 1, bytes(6)))
    leases = [Held(Interface("net", f"c{number}", "eth0"), Wishes({}, ()), terms, 1.0) for number in range(3)]
    for held in (*leases, leases[0]):
        store.keep(folder, held)
    assert sorted(held.interface.container_id for held in store.every(folder)) == ["c0", "c1", "c2"]
    for _ in range(2):
        store.forget(folder, leases[1].interface)
    for number, broken in enumerate(("", "{}", "[1]", '{"format": 1}', "\0")):
        (tmp_path / "leases" / f"broken{number}").write_text(broken)
    (tmp_path / "leases" / "link").symlink_to("/etc/passwd")
    assert sorted(held.interface.container_id for held in store.every(folder)) == ["c0", "c2"]


@pytest.mark.parametrize("mode", [0o600])
def test_nobody_else_reads_them(tmp_path: Path, mode: int) -> None:
    held = Held(Interface("net", "c", "eth0"), Wishes({}, ()), Terms(Packet(packet.ANSWER, 1, bytes(6))), 1.0)
    store.keep(str(tmp_path), held)
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [mode]
