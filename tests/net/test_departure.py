"""A link that is deleted is out of sight when `delete` returns, whoever looks."""

from __future__ import annotations

import _thread
import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_provision.net import departure, link, netns
from cni_provision.net.link import Link, Settings
from cni_provision.net.rtnl import NetlinkError, Socket

pytestmark = pytest.mark.root


def pair(host: Socket, netns_fd: int) -> Link:
    """The end here of a pair; the other one is `eth0` in that namespace."""
    link.create(host, link.veth(Settings(name="eth0", netns_fd=netns_fd)), Settings(name="veth0"))
    return link.get(host, "veth0")


def test_both_ends_are_gone_and_can_be_made_again(make_netns: Callable[[], int]) -> None:
    host_fd, container_fd = make_netns(), make_netns()
    with Socket(host_fd) as host, Socket(container_fd) as container:
        for _ in range(5):
            departure.delete(host, pair(host, container_fd), host_fd)
            assert link.find(host, "veth0") is None
            assert link.find(container, "eth0") is None
        pair(host, container_fd)
        departure.delete(container, link.get(container, "eth0"), container_fd)
        assert link.find(host, "veth0") is None


def test_its_parameters_are_gone_too(netns_fd: int) -> None:
    with netns.inside(netns_fd), Socket() as socket:
        link.create(socket, link.bridge(), Settings(name="br0"))
        parameters = Path("/proc/sys/net/ipv4/conf/br0")
        assert parameters.is_dir()
        departure.delete(socket, link.get(socket, "br0"), netns_fd)
        assert not parameters.exists()


def test_one_that_is_gone_already(netns_fd: int) -> None:
    with Socket(netns_fd) as socket:
        departure.delete(socket, Link(4242, "absent"), netns_fd)


def test_a_refusal_is_told(netns_fd: int) -> None:
    with Socket(netns_fd) as socket, pytest.raises(NetlinkError, match="cannot delete interface `lo`: ") as caught:
        departure.delete(socket, link.get(socket, "lo"), netns_fd)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_no_more_threads_than_a_process_should_have(netns_fd: int) -> None:
    end = threading.Event()
    many = [threading.Thread(target=end.wait) for _ in range(departure.MOST_THREADS)]
    for one in many:
        one.start()
    try:
        with Socket(netns_fd) as socket:
            link.create(socket, link.bridge(), Settings(name="br0"))
            before = _thread._count()
            departure.delete(socket, link.get(socket, "br0"), netns_fd)
            assert _thread._count() <= before
            assert link.find(socket, "br0") is None
    finally:
        end.set()
        for one in many:
            one.join()
