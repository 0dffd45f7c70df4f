"""containerd's CRI plugin runs pods with our plugins, as a kubelet has it do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from cni_provision.cni.cache import ResultCache
from tests.plugins.conftest import REFERENCE, Namespace
from tests.runtimes.containerd import BUSYBOX, Containerd, running
from tests.runtimes.node import ADDRESS, GATEWAYS, NETWORK, SUBNETS, Node, conflist, needs, write

pytestmark = [pytest.mark.root, needs("containerd", "ctr", "runc", "busybox", "curl")]
SHAPED = [{"type": "bandwidth", "capabilities": {"bandwidth": True}}] if (REFERENCE / "bandwidth").exists() else []
SERVE = "echo served > /tmp/index.html; exec httpd -f -p 80 -h /tmp"
WEB = {"container_port": 80, "host_port": 8080}


@pytest.fixture(scope="module")
def daemon(node: Node) -> Iterator[Containerd]:
    write(node, f"/etc/cni/net.d/10-{NETWORK}.conflist", conflist("1.0.0", *SHAPED))
    with running(node) as containerd:
        yield containerd


@pytest.fixture
def containerd(daemon: Containerd) -> Iterator[Containerd]:
    yield daemon
    assert daemon.node.left() == {}


def served(by: Namespace, address: str, port: int = 8080) -> bool:
    url = f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
    patient = ("--retry", "3", "--retry-connrefused", "--max-time", "9")
    return by.run("curl", "-gs", *patient, url, check=False) == "served\n"


def test_the_network_is_ready(containerd: Containerd) -> None:
    assert containerd.conditions() == {"RuntimeReady": True, "NetworkReady": True}


def test_a_pod_has_both_addresses(containerd: Containerd) -> None:
    pod = containerd.pod()
    four, six = pod.addresses
    assert four.startswith(SUBNETS[4])
    assert six.startswith(SUBNETS[6])
    assert containerd.node.pings(four)
    assert containerd.node.pings(six)
    for gateway in GATEWAYS:
        assert containerd.node.succeeds("nsenter", f"--net={pod.netns}", "ping", "-c1", "-W2", gateway)
    pod.remove()


def test_host_ports(containerd: Containerd, client: Namespace) -> None:
    pod = containerd.pod(WEB)
    container = pod.start(SERVE)
    assert served(containerd.node, pod.addresses[0], 80)
    assert served(containerd.node, ADDRESS)
    assert served(containerd.node, "127.0.0.1")
    assert served(client, ADDRESS)
    assert served(client, "2001:db8::1")
    own = f"echo -e 'GET / HTTP/1.0\\n' | nc -w3 {ADDRESS} 8080"
    assert "served" in pod.execute(container, own)
    pod.remove()
    assert not served(client, ADDRESS)


def test_a_host_port_that_a_pod_has(containerd: Containerd) -> None:
    pod = containerd.pod(WEB)
    with pytest.raises(grpc.RpcError, match="8080"):
        containerd.pod(WEB)
    pod.remove()


@pytest.mark.skipif(not SHAPED, reason="containernetworking-plugins not installed")
def test_bandwidth_of_a_pod(containerd: Containerd) -> None:
    pod = containerd.pod(**{"kubernetes.io/ingress-bandwidth": "8M", "kubernetes.io/egress-bandwidth": "4M"})
    shaped = containerd.node.run("tc", "qdisc", "show")
    assert "tbf" in shaped
    assert "rate 8Mbit" in shaped
    assert "rate 4Mbit" in shaped
    pod.remove()


def test_twenty_pods_at_once(containerd: Containerd) -> None:
    with ThreadPoolExecutor(20) as pool:
        pods = list(pool.map(lambda _: containerd.pod(), range(20)))
        addresses = {address for pod in pods for address in pod.addresses}
        assert len(addresses) == 40
        list(pool.map(lambda pod: pod.remove(), pods))


def test_stop_may_be_repeated(containerd: Containerd) -> None:
    pod = containerd.pod(WEB)
    pod.stop()
    assert containerd.node.left() == {}
    pod.stop()
    pod.remove()


def test_pods_outlive_the_daemon(containerd: Containerd, client: Namespace) -> None:
    pod = containerd.pod(WEB)
    pod.start(SERVE)
    containerd.restart()
    assert served(client, ADDRESS)
    pod.remove()


def test_what_containerd_caches_is_ours_to_read(containerd: Containerd) -> None:
    pod = containerd.pod(WEB)
    cache = ResultCache(str(containerd.node.file("/var/lib/cni/results")), "")
    found = {cached.network: cached for cached in cache.attachments()}
    assert set(found) == {"cni-loopback", NETWORK}
    assert found[NETWORK].attachment.key == (pod.id, "eth0")
    assert dict(found[NETWORK].attachment.args)["K8S_POD_INFRA_CONTAINER_ID"] == pod.id
    assert sorted(str(ip.address.ip) for ip in found[NETWORK].result.ips) == sorted(pod.addresses)
    pod.remove()


def test_ctr_with_a_network(containerd: Containerd) -> None:
    group = f"/{containerd.node.cgroup}/ctr"
    command = f"ip -o addr show eth0; ping -c1 -W2 {GATEWAYS[0]}"
    shown = containerd.ctr("run", "--rm", "--cni", "--cgroup", group, BUSYBOX, "one", "sh", "-c", command)
    assert f"inet {SUBNETS[4]}." in shown
    assert "1 packets received" in shown
