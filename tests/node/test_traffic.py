"""Packets in throwaway namespaces: who answers, who does not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from cni_provision.net import netns
from cni_provision.node import traffic

pytestmark = pytest.mark.root


@pytest.fixture
def namespace() -> Iterator[int]:
    made = netns.create()
    try:
        inside = f"--net=/proc/{os.getpid()}/fd/{made}"
        subprocess.run(["nsenter", inside, "ip", "link", "set", "lo", "up"], check=True)
        yield made
    finally:
        os.close(made)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_echo(namespace: int, address: str) -> None:
    assert 0 < traffic.echo(namespace, address, within=2) < 2000


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_listener_greets(namespace: int, address: str) -> None:
    with traffic.listener(namespace, address, 7780):
        assert traffic.connect(namespace, address, 7780, within=2) > 0


def test_nobody_listens(namespace: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        traffic.connect(namespace, "127.0.0.1", 7781, within=0.2)


def test_somebody_else_answers(namespace: int) -> None:
    with traffic.open_socket(namespace, "127.0.0.1", 1) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError):
            traffic.connect(namespace, "127.0.0.1", other.getsockname()[1], within=0.2)


def test_no_way_there(namespace: int) -> None:
    with pytest.raises(TimeoutError, match=r"192\.0\.2\.1 does not answer"):
        traffic.echo(namespace, "192.0.2.1", within=0.2)


def test_a_namespace_is_not_left(namespace: int) -> None:
    own = os.readlink("/proc/thread-self/ns/net")
    traffic.echo(namespace, "127.0.0.1", within=1)
    assert os.readlink("/proc/thread-self/ns/net") == own
