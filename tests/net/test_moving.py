from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cni_provision.net import link, moving, netns
from cni_provision.net.errors import NetError
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import Socket

pytestmark = pytest.mark.root


@pytest.fixture
def on_host(make_netns: Callable[[], int]) -> Iterator[Callable[..., Any]]:
    """A function that calls others from a thread whose namespace is a host with `dev0`, up."""
    host_fd = make_netns()
    with Socket(host_fd) as host:
        link.create(host, link.veth(Settings(name="peer")), Settings(name="dev0"))
        link.change(host, link.get(host, "peer"), Settings(up=True))
        link.change(host, link.get(host, "dev0"), Settings(up=True, alias="mine"))
    with ThreadPoolExecutor(1, initializer=netns.setns, initargs=(host_fd,)) as pool:
        yield lambda call, *arguments: pool.submit(call, *arguments).result()


def lent(container_fd: int, name: str) -> tuple[str, str, bool]:
    with Socket() as host, Socket(container_fd) as inside:
        found = moving.lend(host, link.get(host, "dev0"), inside, container_fd, name)
        assert link.find(host, "dev0") is None
        return found.name, found.alias, found.up


def names() -> set[tuple[str, str, bool]]:
    with Socket() as host:
        return {(one.name, one.alias, one.up) for one in link.dump(host) if one.name not in ("lo", "peer")}


def given_back(container_fd: int, name: str) -> None:
    with Socket(container_fd) as inside:
        moving.give_back(link.get(inside, name), inside, "dev0")


def test_there_and_back(on_host, netns_fd: int) -> None:
    assert on_host(lent, netns_fd, "eth0") == ("eth0", "dev0", True)
    on_host(given_back, netns_fd, "eth0")
    assert on_host(names) == {("dev0", "", False)}


def test_a_name_that_is_taken_leaves_it_where_it_is(on_host, netns_fd: int) -> None:
    with Socket(netns_fd) as inside:
        link.create(inside, link.bridge(), Settings(name="eth0"))
    with pytest.raises(NetError, match="the container has an interface `eth0` already"):
        on_host(lent, netns_fd, "eth0")
    assert on_host(names) == {("dev0", "mine", True)}


def test_undone(on_host, netns_fd: int) -> None:
    def half() -> None:
        with Socket() as host, Socket(netns_fd) as inside:
            device = link.get(host, "dev0")
            link.change(host, device, Settings(netns_fd=netns_fd))
            moving.undo(host, device, inside)

    on_host(half)
    assert on_host(names) == {("dev0", "mine", True)}


def test_rescued(on_host) -> None:
    def renamed() -> None:
        with Socket() as host:
            device = link.get(host, "dev0")
            link.change(host, device, Settings(up=False))
            link.change(host, device, Settings(name="eth0", alias="dev0"))

    on_host(renamed)
    for _ in range(2):
        on_host(moving.rescue, "dev0")
        assert on_host(names) == {("dev0", "", False)}
