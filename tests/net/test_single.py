from __future__ import annotations

from collections.abc import Callable

import pytest

from cni_provision.net import link, netns, nsid, single
from cni_provision.net.errors import NetError
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

pytestmark = pytest.mark.root
BRIDGE = link.bridge()


def test_made_kept_and_removed(netns_fd: int) -> None:
    with Socket(netns_fd) as inside:
        with Undo() as undo:
            made = single.make(inside, BRIDGE, Settings(name="eth0"), undo)
            undo.keep()
        assert (made.name, made.kind) == ("eth0", "bridge")
        single.remove(netns_fd, "eth0", "veth")
        assert link.find(inside, "eth0"), "it is of another kind"
        for _ in range(2):
            single.remove(netns_fd, "eth0", "bridge")
            assert link.find(inside, "eth0") is None


def test_undone(netns_fd: int) -> None:
    with Socket(netns_fd) as inside:
        with Undo() as undo:
            single.make(inside, BRIDGE, Settings(name="eth0"), undo)
        assert link.find(inside, "eth0") is None


def test_a_name_that_is_taken_stays_with_who_has_it(netns_fd: int) -> None:
    with Socket(netns_fd) as inside:
        link.create(inside, BRIDGE, Settings(name="eth0"))
        with pytest.raises(NetError, match="the container has an interface `eth0` already"), Undo() as undo:
            single.make(inside, BRIDGE, Settings(name="eth0"), undo)
        assert link.find(inside, "eth0")


def test_above_one_of_another_namespace(make_netns: Callable[[], int]) -> None:
    """Also where that namespace has an interface of the same name."""
    host_fd, container_fd = make_netns(), make_netns()
    with Socket(host_fd) as host, Socket(container_fd) as inside:
        if not link.supported(host, "macvlan"):
            pytest.skip("this kernel has no macvlan interfaces")
        link.create(host, link.veth(Settings(name="eth0")), Settings(name="up0"))
        lower = link.get(host, "up0")
        with netns.inside(host_fd):
            number = nsid.of_this(inside)
        with netns.inside(host_fd):
            assert nsid.of_this(inside) == number, "given once"
            settings = single.above(inside, lower, Settings(name="eth0"), on_host=True)
        with Undo() as undo:
            made = single.make(inside, link.macvlan(4), settings, undo)
            undo.keep()
        assert (made.parent, settings.parent_nsid) == (lower.index, number)
        assert single.above(inside, lower, Settings(), on_host=False).parent_nsid is None
