"""A machine after the role: what is declared is there, containers reach each other, and are reached from outside."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cni_provision.testinfra.test_nodes import *  # noqa: F403 (the ready-made suite)
from tests.vm.containers import Container, Containers

LIMIT = 8_000_000  # bits a second, of the network `limited`
BURST = 800_000
SENT = 2_000_000  # bytes


@pytest.fixture(scope="module")
def pair(containers: Containers) -> Iterator[tuple[Container, Container]]:
    """Two containers on `pods`; port 8080 of the machine leads to the second."""
    mapped = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
    with containers.attached("first", "pods") as first, containers.attached("second", "pods", **mapped) as second:
        second.serve()
        yield first, second


def test_containers_reach_each_other(pair: tuple[Container, Container]) -> None:
    first, second = pair
    assert first.pings(second)
    assert second.pings(first)
    assert first.reads(second)


@pytest.mark.usefixtures("virtual")
def test_a_mapped_port_is_reached_from_outside(containers: Containers, pair: tuple[Container, Container]) -> None:
    published = containers.machines["machines"]["node-1"]["published"]
    with urllib.request.urlopen(f"http://127.0.0.1:{published}/", timeout=60) as page:
        assert page.read().decode().strip() == "second"


def test_bandwidth_is_limited(containers: Containers) -> None:
    with containers.attached("slow", "limited") as slow, containers.attached("peer", "limited") as peer:
        seconds = slow.sends(SENT, peer)
    # a busy machine is slower, none is faster; what fits into the bursts of both sides passes at once
    assert (SENT * 8 - 2 * BURST) / seconds < 1.2 * LIMIT


@pytest.mark.usefixtures("virtual")
def test_a_vlan_of_the_kernel(containers: Containers) -> None:
    with containers.attached("tagged", "tagged") as container:
        assert "vlan protocol 802.1Q id 5" in container.run("ip", "-d", "link", "show", "eth0")


@pytest.mark.usefixtures("virtual")
def test_ipvlan_slaves_reach_each_other(containers: Containers) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(containers.attached(name, "slaves")) for name in ("one", "two"))
        assert "ipvlan" in first.run("ip", "-d", "link", "show", "eth0")
        assert first.pings(second)


@pytest.mark.usefixtures("virtual")
def test_ours_and_debians_plugins_share_a_chain(containers: Containers) -> None:
    with containers.attached("apart", "routed-apart") as container:
        assert "master blue" in container.run("ip", "link", "show", "eth0")


@pytest.mark.usefixtures("virtual")
def test_the_warm_server_runs(host: Any) -> None:
    assert host.run("systemctl is-active cni-provision-server.socket").stdout.strip() == "active"
