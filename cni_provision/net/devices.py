"""Which interface belongs to a device of the PCI or auxiliary bus, as sysfs shows it on the host (sysfs(5))."""

from __future__ import annotations

import errno
import os

from cni_provision.net.errors import NetError

PCI, AUXILIARY = "/sys/bus/pci/devices", "/sys/bus/auxiliary/devices"
DEVICES = "/sys/devices/"
USERSPACE_DRIVERS = frozenset({"vfio-pci", "uio_pci_generic", "igb_uio"})  # what DPDK uses: no interface


def bus_of(device: str) -> str:
    """The bus that has a device of that name; empty where none does."""
    if "/" in device:
        return ""
    return next((bus for bus in (PCI, AUXILIARY) if os.path.exists(os.path.join(bus, device))), "")


def in_userspace(address: str) -> bool:
    """Whether the driver of a PCI device is one for programs; NetError ENODEV where there is no driver."""
    try:
        driver = os.readlink(os.path.join(PCI, address, "driver"))
    except OSError as error:
        raise NetError(errno.ENODEV, f"PCI device {address} has no driver: {error.strerror}") from error
    return os.path.basename(driver) in USERSPACE_DRIVERS


def interface_at(path: str) -> str:
    """The name of the (first) interface of a device, below `net` of its folder; NetError ENODEV where it has none."""
    folders = [os.path.join(path, "net")]
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    folders += [os.path.join(path, name, "net") for name in names if name.startswith("virtio")]
    for folder in folders:
        if os.path.isdir(folder):
            found = sorted(os.listdir(folder))
            if found:
                return found[0]
    raise NetError(errno.ENODEV, f"failed to find network device in path {path}")
