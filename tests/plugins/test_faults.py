"""Each message of an ADD to the kernel fails in turn, or the plugin dies at it, and DEL follows: nothing is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.plugins import test_bandwidth, test_firewall, test_multi, test_sriov
from tests.plugins.conftest import Host, Namespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
    pytest.mark.parametrize("fault", ["error=ENOBUFS", "signal=KILL"]),
]
MOST = 120
SUBNETS = {"all": {}, "subnets": {"shapedSubnets": ["192.0.2.0/24", "2001:db8::/32"]}}
paired, firewalled = test_bandwidth.paired, test_firewall.lan
site, card = test_multi.site, test_sriov.card


@pytest.fixture
def way() -> str:
    """strace looks at the plugin itself."""
    return "cold"


def injection(fault: str, number: int, *options: str) -> tuple[str, ...]:
    kinds = "sendto,sendmsg"
    return ("strace", *options, "-o", "/dev/null", "-e", f"trace={kinds}",
            "-e", f"inject={kinds}:{fault}:when={number}")  # fmt: skip


def each_message_fails(
    host: Host, config: dict, container: Namespace, fault: str, nothing_left: Callable[[], object], **how: str
) -> None:
    for number in range(1, MOST):
        outcome = host.call("ADD", config, netns=container.path, before=injection(fault, number), **how)
        if outcome.code == 0 or fault == "signal=KILL":
            host.delete(config, container, **how)
        nothing_left()
        if outcome.code == 0:
            assert number > 3, "something was tried"
            return
        assert fault == "signal=KILL" or outcome.result["msg"], outcome
    raise AssertionError(f"there are more than {MOST} messages")


def each_message_of_children_fails(
    host: Host, config: dict, container: Namespace, fault: str, nothing_left: Callable[[], object], **how: str
) -> None:
    """What takes back is hit by the same fault, so that DEL has to follow in any case."""
    for number in range(1, MOST):
        outcome = host.call("ADD", config, netns=container.path, before=injection(fault, number, "-f"), **how)
        host.delete(config, container, **how)
        nothing_left()
        if outcome.code == 0:
            assert number > 3, "something was tried"
            return
    raise AssertionError(f"there are more than {MOST} messages")


@pytest.mark.parametrize("subnets", SUBNETS.values(), ids=SUBNETS)
def test_bandwidth_in_turn(paired: test_bandwidth.Paired, fault: str, subnets: dict) -> None:
    config = paired.config(**test_bandwidth.BOTH, **subnets)
    each_message_fails(paired.host, config, paired.container, fault, paired.nothing_left)


@pytest.mark.parametrize("backend", test_firewall.BACKENDS)
def test_firewall_in_turn(firewalled: test_firewall.Lan, fault: str, backend: str) -> None:
    config = firewalled.config(firewalled.a, backend=backend, ingressPolicy="same-bridge")
    fails = each_message_fails if backend == "nftables" else each_message_of_children_fails

    def nothing_left() -> None:
        assert test_firewall.leftovers(firewalled) == []

    fails(firewalled.host, config, firewalled.a.namespace, fault, nothing_left, container_id="a")


def test_multi_in_turn(site: test_multi.Site, container: Namespace, fault: str) -> None:
    config = site.config(annotations={test_multi.NETWORKS: "lab"})
    each_message_of_children_fails(site.host, config, container, fault, lambda: site.nothing_left(container))


def test_sriov_in_turn(card: test_sriov.Card, container: Namespace, fault: str) -> None:
    def nothing_left() -> None:
        assert container.links() == {"lo"}
        card.as_before()

    each_message_fails(card.host, card.config(), container, fault, nothing_left)
