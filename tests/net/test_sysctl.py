from __future__ import annotations

import subprocess
import sys

import pytest

from cni_provision.net import link, sysctl
from cni_provision.net.errors import NetError
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import Socket


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.100/arp_notify", "/proc/sys/net/ipv4/conf/eth0.100/arp_notify"),
        ("net.ipv4.conf.eth0/100.arp_notify", "/proc/sys/net/ipv4/conf/eth0.100/arp_notify"),
        ("kernel", "/proc/sys/kernel"),
    ],
)
def test_keys(key: str, path: str) -> None:
    assert sysctl.path(key) == path


@pytest.mark.parametrize("key", ["", "net/../../etc/passwd", "net..ipv4", "/net/ipv4", "net/ipv4/", "../x", "."])
def test_keys_that_leave_the_tree(key: str) -> None:
    with pytest.raises(ValueError, match="is not a sysctl key"):
        sysctl.path(key)


@pytest.mark.root
def test_a_value_in_another_namespace(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        link.create(socket, link.bridge(), Settings(name="br.7"))
    key = "net/ipv4/conf/br.7/arp_notify"
    assert sysctl.read(key, netns_fd) == "0"
    sysctl.write(key, "1", netns_fd)
    assert sysctl.read(key, netns_fd) == "1"
    with pytest.raises(FileNotFoundError):
        sysctl.read(key)


@pytest.mark.root
def test_a_value_that_the_kernel_refuses(netns_fd: int) -> None:
    with pytest.raises(NetError, match="cannot write `many` to `/proc/sys/net/ipv4/ip_forward`: Invalid argument"):
        sysctl.write("net/ipv4/ip_forward", "many", netns_fd)


@pytest.mark.root
def test_parameters_that_may_be_absent(netns_fd: int) -> None:
    absent, present = "net/ipv4/conf/absent/arp_notify", "net/ipv4/ip_forward"
    assert sysctl.write_present({absent: "1", present: "1"}, netns_fd) == {absent}
    assert sysctl.read(present, netns_fd) == "1"
    assert sysctl.write_present({present: "1"}, netns_fd) == set()


@pytest.mark.root
def test_where_nobody_may_write_the_right_value_is_enough() -> None:
    key = "net/ipv4/conf/lo/arp_notify"
    code = f"""
import ctypes, os
from cni_provision.net import sysctl
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x00020000) == 0
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0, "private"
assert libc.mount(b"/proc/sys", b"/proc/sys", None, 0x1000, None) == 0, "bind"
assert libc.mount(b"none", b"/proc/sys", None, 0x1021, None) == 0, "read-only"
sysctl.write({key!r}, sysctl.read({key!r}))
try:
    sysctl.write({key!r}, "1")
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == f"cannot write `1` to `/proc/sys/{key}`: Read-only file system\n", done.stderr
