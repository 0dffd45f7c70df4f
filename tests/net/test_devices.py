"""Without a bus: the plugin's tests look at one that is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.net import devices
from cni_provision.net.errors import NetError


@pytest.mark.parametrize("name", ["../devices", "absent-device", "/"])
def test_no_bus_has_it(name: str) -> None:
    assert devices.bus_of(name) == ""


def test_a_device_without_driver() -> None:
    with pytest.raises(NetError, match="PCI device absent has no driver"):
        devices.in_userspace("absent")


@pytest.mark.parametrize("below", ["net/eth7", "virtio3/net/eth7"])
def test_the_interface_of_a_device(tmp_path: Path, below: str) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / below).mkdir(parents=True)
    assert devices.interface_at(str(tmp_path)) == "eth7"


def test_a_device_without_interface(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NetError, match=f"failed to find network device in path {path}"):
            devices.interface_at(str(path))
