from __future__ import annotations

import os

import pytest

from cni_provision.net import link, tun
from cni_provision.net.errors import NetError
from cni_provision.net.link import Settings
from cni_provision.net.rtnl import Socket

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.access(tun.DEVICE, os.R_OK), reason="this kernel has no tun devices"),
]


def test_made_in_the_namespace(netns_fd: int) -> None:
    tun.make_tap(netns_fd, "tap0", multi_queue=True, owner=7, group=None)
    with Socket(netns_fd) as inside, Socket() as here:
        found = link.get(inside, "tap0")
        assert (found.kind, found.up) == (tun.KIND, False)
        assert link.find(here, "tap0") is None


def test_a_name_that_is_taken(netns_fd: int) -> None:
    with Socket(netns_fd) as inside:
        link.create(inside, link.bridge(), Settings(name="tap0"))
    with pytest.raises(NetError, match="cannot make tap interface `tap0`: "):
        tun.make_tap(netns_fd, "tap0", multi_queue=False, owner=None, group=None)
