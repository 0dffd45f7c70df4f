"""Network namespaces of a test's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from cni_provision.net import netns, nft


@pytest.fixture(scope="session", autouse=True)
def machine() -> Iterator[None]:
    """As it was: these tests are in namespaces of the network only, and the lock of nftables is a file."""
    was_there = os.path.exists(nft.LOCK)
    yield
    if not was_there:
        with suppress(OSError):
            os.unlink(nft.LOCK)
            os.rmdir(os.path.dirname(nft.LOCK))


@pytest.fixture
def make_netns() -> Iterator[Callable[[], int]]:
    """A function that makes network namespaces and gives descriptors of them; they go when the test ends."""
    with ExitStack() as stack:

        def make() -> int:
            holder = stack.enter_context(
                subprocess.Popen(
                    ["unshare", "--net", "sh", "-c", "echo ready; exec cat"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            stack.callback(holder.kill)
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            fd = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY)
            stack.callback(os.close, fd)
            return fd

        yield make


@pytest.fixture
def netns_fd(make_netns: Callable[[], int]) -> int:
    return make_netns()


@pytest.fixture
def inside(netns_fd: int) -> Iterator[None]:
    """This thread in a namespace of its own, where programs may run: no test runs beside it."""
    own = os.open(netns.OWN, os.O_RDONLY)
    netns.setns(netns_fd)
    yield
    netns.return_to(own)
    os.close(own)
