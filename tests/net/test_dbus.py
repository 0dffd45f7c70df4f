from __future__ import annotations

import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.net import dbus
from cni_provision.net.dbus import Bus, BusError

TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)
CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow send_type="*" send_destination="*"/>
<allow receive_type="*"/></policy>
</busconfig>
"""


@given(st.integers(1, 2**32 - 1), st.lists(TEXTS, max_size=3), TEXTS, TEXTS)
def test_calls_are_read_as_they_were_written(serial: int, texts: list[str], path: str, member: str) -> None:
    fields = [(dbus.PATH, "o", path), (dbus.MEMBER, "s", member)]
    call = dbus.encode(serial, fields, tuple(texts))
    order, kind, _, version, body, number, length = dbus.FIXED.unpack_from(call)
    assert (order, kind, version, number) == (b"l", dbus.CALL, 1, serial)
    headers = dbus.decode_fields(call[dbus.FIXED.size :][:length])
    assert (headers[dbus.PATH], headers[dbus.MEMBER]) == (path, member)
    assert headers.get(dbus.SIGNATURE, "") == "s" * len(texts)
    rest = call[len(call) - body :] if body else b""
    assert dbus.first_value("s" * len(texts), rest) == (texts[0] if texts else None)
    assert (len(call) - body) % 8 == 0


@pytest.mark.parametrize(("signature", "body", "value"), [
    ("u", struct.pack("<I", 7), 7), ("b", struct.pack("<I", 1), 1), ("", b"", None), ("as", bytes(8), None),
])  # fmt: skip
def test_values(signature: str, body: bytes, value: object) -> None:
    assert dbus.first_value(signature, body) == value


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The socket of a real bus."""
    if not shutil.which("dbus-daemon"):
        pytest.skip("dbus-daemon is not installed")
    found = str(tmp_path / "bus")
    (tmp_path / "configuration").write_text(CONFIGURATION.format(found))
    argv = ["dbus-daemon", f"--config-file={tmp_path}/configuration", "--nofork", "--print-address=1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith("unix:")
        yield found
        daemon.terminate()


def test_a_bus(address: str) -> None:
    with Bus(address) as bus:
        assert bus.knows("org.freedesktop.DBus")
        assert not bus.knows("org.example.Nobody")
        assert len(str(bus.call(*dbus.BUS, "GetId"))) == 32
        with pytest.raises(BusError, match=r"`org.freedesktop.DBus.GetNameOwner`: .*org.example.Nobody"):
            bus.call(*dbus.BUS, "GetNameOwner", "org.example.Nobody")
        assert bus.call(*dbus.BUS, "GetNameOwner", "org.freedesktop.DBus") == "org.freedesktop.DBus"


def test_no_bus(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(BusError, match="no D-Bus at"):
        Bus(str(tmp_path / "nothing"))
    assert time.monotonic() - started < dbus.SECONDS
