"""Podman runs containers with our plugins: addresses, ports, networks that come and go, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cni_provision.cni.cache import ResultCache
from tests.plugins.conftest import Namespace
from tests.runtimes.node import ADDRESS, GATEWAYS, NETWORK, SUBNETS, Node, conflist, needs, write
from tests.runtimes.podman import SERVE, Podman, installed

pytestmark = [pytest.mark.root, needs("podman", "runc", "busybox")]


@pytest.fixture(scope="module")
def installed_podman(node: Node) -> Podman:
    write(node, f"/etc/cni/net.d/10-{NETWORK}.conflist", conflist())
    return installed(node)


@pytest.fixture
def podman(installed_podman: Podman) -> Iterator[Podman]:
    """Podman without containers; what a test leaves on the node is a failure."""
    yield installed_podman
    installed_podman("rm", "-fa", "-t0")
    assert installed_podman.node.left() == {}


def served(by: Namespace, address: str, port: int = 8080) -> bool:
    url = f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
    patient = ("--retry", "3", "--retry-connrefused", "--max-time", "9")
    return by.run("curl", "-gs", *patient, url, check=False) == "served\n"


def pings(podman: Podman, name: str, address: str) -> bool:
    return podman.node.succeeds(
        "env", f"CONTAINERS_CONF={podman.node.folder}/containers.conf",
        "podman", "exec", name, "ping", "-c1", "-W2", address,
    )  # fmt: skip


def test_addresses_and_the_gateway(podman: Podman) -> None:
    podman.run("one")
    shown = podman.networks("one")[NETWORK]
    assert shown["IPAddress"].startswith(SUBNETS[4])
    assert shown["GlobalIPv6Address"].startswith(SUBNETS[6])
    assert (shown["Gateway"], shown["IPv6Gateway"]) == GATEWAYS
    assert all(pings(podman, "one", gateway) for gateway in GATEWAYS)
    assert podman.node.pings(shown["IPAddress"])
    assert podman.node.pings(shown["GlobalIPv6Address"])


def test_the_way_out_is_masqueraded(podman: Podman, client: Namespace) -> None:
    podman.run("one")
    assert pings(podman, "one", "192.0.2.2")
    assert pings(podman, "one", "2001:db8::2")


def test_published_ports(podman: Podman, client: Namespace) -> None:
    podman.run("web", "-p", "8080:80", command=SERVE)
    assert served(podman.node, "127.0.0.1")
    assert served(podman.node, ADDRESS)
    assert served(client, ADDRESS)
    assert served(client, "2001:db8::1")
    own = "echo -e 'GET / HTTP/1.0\\n' | nc -w3 192.0.2.1 8080"
    assert "served" in podman("exec", "web", "sh", "-c", own), "hairpin"
    podman.run("other")
    assert "served" in podman("exec", "other", "sh", "-c", own)
    podman.remove("web")
    assert not served(client, ADDRESS)


def test_a_port_of_one_address(podman: Podman, client: Namespace) -> None:
    podman.run("web", "-p", "127.0.0.1:8080:80", command=SERVE)
    assert served(podman.node, "127.0.0.1")
    assert not served(client, ADDRESS)


def test_an_address_and_a_mac_that_are_asked_for(podman: Podman) -> None:
    podman.run("one", "--ip", "10.77.0.77", "--mac-address", "92:d0:c6:0a:29:33")
    shown = podman.networks("one")[NETWORK]
    assert (shown["IPAddress"], shown["MacAddress"]) == ("10.77.0.77", "92:d0:c6:0a:29:33")


def test_an_address_that_somebody_has(podman: Podman) -> None:
    podman.run("one", "--ip", "10.77.0.77")
    with pytest.raises(AssertionError, match=r"10\.77\.0\.77 is not available"):
        podman.run("two", "--ip", "10.77.0.77")


def test_a_network_that_podman_creates(podman: Podman) -> None:
    podman("network", "create", "--subnet", "10.78.0.0/24", "own")
    try:
        podman.run("one", "--network", "own", "--network", NETWORK)
        networks = podman.networks("one")
        assert networks["own"]["IPAddress"].startswith("10.78.0.")
        assert networks[NETWORK]["IPAddress"].startswith(SUBNETS[4])
        assert pings(podman, "one", "10.78.0.1")
        podman.remove("one")
    finally:
        podman("network", "rm", "-f", "own")


def test_networks_that_come_and_go(podman: Podman) -> None:
    podman("network", "create", "--subnet", "10.79.0.0/24", "later")
    try:
        podman.run("one")
        podman("network", "connect", "later", "one")
        assert podman.networks("one")["later"]["IPAddress"].startswith("10.79.0.")
        assert "eth1" in podman("exec", "one", "ip", "link")
        podman("network", "disconnect", "later", "one")
        assert "eth1" not in podman("exec", "one", "ip", "link")
        assert pings(podman, "one", GATEWAYS[0])
    finally:
        podman("network", "rm", "-f", "later")


def test_restart(podman: Podman) -> None:
    podman.run("web", "-p", "8080:80", command=SERVE)
    podman("restart", "-t0", "web")
    assert served(podman.node, "127.0.0.1")
    podman("stop", "-t0", "web")
    assert podman.node.left() == {}
    podman("start", "web")
    assert served(podman.node, "127.0.0.1")


def test_many_at_once(podman: Podman) -> None:
    names = [f"many-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(podman.run, names))
        addresses = {podman.networks(name)[NETWORK]["IPAddress"] for name in names}
        assert len(addresses) == len(names)
        list(pool.map(podman.remove, names))


def test_what_podman_caches_is_ours_to_read(podman: Podman) -> None:
    container = podman.run("one", "-p", "8080:80")
    cache = ResultCache(str(podman.node.file("/var/lib/cni/results")), "")
    (cached,) = cache.attachments()
    assert (cached.network, cached.attachment.key) == (NETWORK, (container, "eth0"))
    assert str(cached.result.ips[0].address.ip) == podman.networks("one")[NETWORK]["IPAddress"]
    assert json.loads(cached.config)["name"] == NETWORK
    assert cached.attachment.capabilities["portMappings"][0]["hostPort"] == 8080
