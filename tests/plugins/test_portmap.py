"""portmap between real namespaces: a client, a node, two containers on its bridge; nothing is mocked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cni_provision.net import netns

pytestmark = pytest.mark.root

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/portmap.yaml").read_text())
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
NODE = {4: "192.0.2.1", 6: "2001:db8:1::1"}
OTHER_NODE_ADDRESS = "192.0.2.11"
LINKS = """
link add cni0 type bridge
addr add 10.42.0.1/24 dev cni0
addr add fd42::1/64 dev cni0 nodad
link set cni0 up
"""


def open_in(namespace, family: int, kind: int) -> socket.socket:
    with os.fdopen(netns.open_path(namespace.path)) as held, netns.inside(held.fileno()):
        opened = socket.socket(family, kind)
    opened.settimeout(2)
    return opened


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(namespace, address: str, port: int, kind: int = TCP) -> str | None:
    """Who answers there, and whom it sees; None if nobody."""
    with open_in(namespace, family_of(address), kind) as client:
        client.settimeout(1)
        try:
            client.connect((address, port))
            client.send(b"who?")
            return client.recv(200).decode()
        except OSError:
            return None


@dataclass
class Container:
    namespace: object
    name: str
    addresses: dict[int, str]

    def serve(self, stack: ExitStack, port: int) -> None:
        """Answer on TCP and UDP, both families, with our name and the client's address."""
        for version, address in self.addresses.items():
            family = socket.AF_INET6 if version == 6 else socket.AF_INET
            for kind in (TCP, UDP):
                server = stack.enter_context(open_in(self.namespace, family, kind))
                server.settimeout(None)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((address, port))
                if kind == TCP:
                    server.listen(8)
                threading.Thread(target=self._answer, args=(server, kind), daemon=True).start()
                stack.callback(quietly_shut, server)

    def _answer(self, server: socket.socket, kind: int) -> None:
        try:
            while True:
                if kind == UDP:
                    _, peer = server.recvfrom(100)
                    if not peer:  # shut down
                        return
                    server.sendto(f"{self.name} {peer[0]}".encode(), peer)
                else:
                    client, peer = server.accept()
                    with client:
                        client.recv(100)
                        client.send(f"{self.name} {peer[0]}".encode())
        except OSError:
            return

    def result(self, version: str = "1.0.0") -> dict:
        ips = [
            {"address": f"{address}/{24 if family == 4 else 64}", "interface": 2}
            for family, address in self.addresses.items()
        ]
        names = ("cni0", ""), ("veth" + self.name, ""), ("eth0", self.namespace.path)
        interfaces = [{"name": name, "sandbox": sandbox} for name, sandbox in names]
        return {"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": [], "dns": {}}


def quietly_shut(server: socket.socket) -> None:
    with suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


@dataclass
class Lan:
    """`config` makes a portmap configuration for a container, with its prevResult."""

    host: object
    client: object
    a: Container
    b: Container
    network: str

    def config(self, who: Container, *mappings: dict, **options) -> dict:
        return {
            "cniVersion": "1.0.0",
            "name": self.network,
            "type": "portmap",
            "capabilities": {"portMappings": True},
            "runtimeConfig": {"portMappings": list(mappings)},
            "prevResult": who.result(),
            **options,
        }

    def add(self, who: Container, *mappings: dict, **options) -> dict:
        config = self.config(who, *mappings, **options)
        assert self.host.add(config, who.namespace, container_id=who.name)["ips"] == config["prevResult"]["ips"]
        return config

    def delete(self, who: Container, config: dict) -> None:
        self.host.delete(config, who.namespace, container_id=who.name)

    def elements(self) -> int:
        listed = json.loads(self.host.namespace.run("nft", "-j", "list", "ruleset"))["nftables"]
        return sum(len(each["map"].get("elem", ())) for each in listed if "map" in each)


@pytest.fixture
def lan(host, make_namespace: Callable, network: str) -> Iterator[Lan]:
    containers = [make_namespace() for _ in range(2)]
    client = make_namespace()
    node = host.namespace
    for namespace in (node, client, *containers):
        namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    node.run("ip", "-batch", "-", input=LINKS)
    made = []
    with ExitStack() as stack:
        for index, (name, namespace) in enumerate(zip("ab", containers)):
            node.run("ip", "link", "add", f"veth{name}", "master", "cni0", "up", "type", "veth", "peer", "eth0",
                     "netns", str(namespace.pid))  # fmt: skip
            # as `hairpinMode` of the bridge plugin: where br_netfilter is on, a container needs it to reach itself
            node.run("ip", "link", "set", f"veth{name}", "type", "bridge_slave", "hairpin", "on")
            addresses = {4: f"10.42.0.{index + 2}", 6: f"fd42::{index + 2}"}
            configure(namespace, addresses, {4: "10.42.0.1", 6: "fd42::1"})
            made.append(Container(namespace, name, addresses))
            made[-1].serve(stack, 80)
        node.run("ip", "link", "add", "uplink", "up", "type", "veth", "peer", "eth0", "netns", str(client.pid))
        for address in (f"{NODE[4]}/24", f"{OTHER_NODE_ADDRESS}/24", f"{NODE[6]}/64"):
            node.run("ip", "addr", "add", address, "dev", "uplink", *(["nodad"] if ":" in address else []))
        configure(client, {4: "192.0.2.2", 6: "2001:db8:1::2"}, NODE)
        yield Lan(host, client, *made, network)


def configure(namespace, addresses: dict[int, str], gateways: dict[int, str]) -> None:
    lines = ["link set lo up", "link set eth0 up", f"addr add {addresses[4]}/24 dev eth0"]
    lines += [f"addr add {addresses[6]}/64 dev eth0 nodad", f"route add default via {gateways[4]}"]
    namespace.run("ip", "-batch", "-", input="\n".join(lines))
    namespace.run("ip", "-6", "route", "add", "default", "via", gateways[6])


def tcp(host_port: int, **more) -> dict:
    return {"hostPort": host_port, "containerPort": 80, "protocol": "tcp", **more}


def udp(host_port: int, **more) -> dict:
    return {"hostPort": host_port, "containerPort": 80, "protocol": "udp", **more}


def test_from_everywhere(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080), udp(8080))
    node = lan.host.namespace
    for kind in (TCP, UDP):
        assert ask(lan.client, NODE[4], 8080, kind) == "a 192.0.2.2"
        assert ask(lan.client, NODE[6], 8080, kind) == "a 2001:db8:1::2"
        assert ask(node, "127.0.0.1", 8080, kind) == "a 10.42.0.1"
        assert ask(node, NODE[4], 8080, kind) == f"a {NODE[4]}"
        assert ask(node, NODE[6], 8080, kind) == f"a {NODE[6]}"
        assert ask(lan.a.namespace, NODE[4], 8080, kind) == "a 10.42.0.1"  # hairpin
        assert ask(lan.b.namespace, NODE[4], 8080, kind) == "a 10.42.0.1"
        assert ask(lan.b.namespace, NODE[6], 8080, kind) == "a fd42::1"
        assert ask(lan.client, NODE[4], 8081, kind) is None
    assert lan.host.check(config, lan.a.namespace, lan.a.result(), container_id="a").code == 0
    lan.delete(lan.a, config)
    assert ask(lan.client, NODE[4], 8080) is None
    assert ask(node, "127.0.0.1", 8080) is None
    assert lan.elements() == 0


def test_without_snat_the_node_is_not_masqueraded(lan: Lan) -> None:
    lan.add(lan.a, tcp(8080), snat=False)
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"
    assert ask(lan.host.namespace, "127.0.0.1", 8080) is None
    assert "masquerade" in lan.host.namespace.nft()
    assert "meta mark set" not in lan.host.namespace.nft()


def test_masq_all(lan: Lan) -> None:
    lan.add(lan.a, tcp(8080), masqAll=True)
    assert ask(lan.client, NODE[4], 8080) == "a 10.42.0.1"
    assert ask(lan.client, NODE[6], 8080) == "a fd42::1"


def test_one_address_of_the_node(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080, hostIP=NODE[4]), tcp(8082, hostIP="0.0.0.0"), tcp(8083, hostIP="::"))
    lan.add(lan.b, tcp(8080))
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"
    assert ask(lan.client, OTHER_NODE_ADDRESS, 8080) == "b 192.0.2.2"
    assert ask(lan.client, NODE[4], 8082) == "a 192.0.2.2"
    assert ask(lan.client, NODE[6], 8082) is None
    assert ask(lan.client, NODE[4], 8083) is None
    assert ask(lan.client, NODE[6], 8083) == "a 2001:db8:1::2"
    lan.delete(lan.a, config)
    assert ask(lan.client, NODE[4], 8080) == "b 192.0.2.2"


def test_each_network_has_its_own_conditions(lan: Lan) -> None:
    mine = {
        "name": lan.network + "-inside",
        "conditionsV4": ["ip saddr 192.0.2.99"],
        "conditionsV6": ["ip6 saddr ::1"],
    }
    config = lan.add(lan.a, tcp(8080), **mine)
    lan.add(lan.b, tcp(8080))  # the same port, for other packets
    lan.add(lan.b, tcp(8081), name=lan.network + "-third")
    assert ask(lan.client, NODE[4], 8080) == "b 192.0.2.2"
    assert ask(lan.client, NODE[4], 8081) == "b 192.0.2.2"
    lan.client.run("ip", "addr", "del", "192.0.2.2/24", "dev", "eth0")
    lan.client.run("ip", "addr", "add", "192.0.2.99/24", "dev", "eth0")
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.99"
    lan.delete(lan.a, config)
    assert ask(lan.client, NODE[4], 8080) == "b 192.0.2.99"


def test_a_port_that_is_taken(lan: Lan) -> None:
    first = lan.add(lan.a, tcp(8080), udp(8080, hostIP=NODE[4]))
    for clash, name in (
        (tcp(8080), lan.network),
        (tcp(8080), lan.network + "-other"),
        (udp(8080, hostIP=NODE[4]), lan.network),
    ):
        config = lan.config(lan.b, tcp(9090), clash, name=name)
        outcome = lan.host.call("ADD", config, netns=lan.b.namespace.path, container_id="b")
        assert outcome.code == 1
        assert "8080" in outcome.result["msg"]
        assert "is in use by the container with address 10.42.0.2" in outcome.result["msg"]
    assert ask(lan.client, NODE[4], 9090) is None, "the other ports of a refused call stay free"
    lan.delete(lan.b, config)
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"
    lan.delete(lan.a, first)
    lan.add(lan.b, tcp(8080))


def test_a_late_delete_leaves_the_next_owner_alone(lan: Lan) -> None:
    first = lan.add(lan.a, tcp(8080), udp(8080))
    lan.delete(lan.a, first)
    lan.add(lan.b, tcp(8080), udp(8080))
    before = lan.elements()
    lan.delete(lan.a, first)
    lan.delete(lan.a, first)
    assert lan.elements() == before == 4
    assert ask(lan.client, NODE[4], 8080) == "b 192.0.2.2"


def test_delete_knows_enough_without_prev_result_and_namespace(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080), udp(53, hostIP=NODE[4]))
    del config["prevResult"]
    lan.host.delete(config, None, container_id="a", ifname="eth1")
    assert lan.elements() == 3, "another interface of the container"
    lan.host.delete(config, None, container_id="a")
    assert lan.elements() == 0


def test_udp_that_flows_follows_the_mapping(lan: Lan) -> None:
    with open_in(lan.client, socket.AF_INET, UDP) as client:
        client.bind(("192.0.2.2", 4000))

        def answer() -> str | None:
            client.sendto(b"who?", (NODE[4], 8080))
            try:
                return client.recv(100).decode()
            except OSError:
                return None

        client.settimeout(0.3)
        assert answer() is None  # tracked as a flow to the node itself
        config = lan.add(lan.a, udp(8080))
        assert answer() == "a 192.0.2.2"
        lan.delete(lan.a, config)
        assert answer() is None
        config = lan.add(lan.b, udp(8080))
        assert answer() == "b 192.0.2.2"


def test_repeated_add_after_a_kill(lan: Lan) -> None:
    lan.add(lan.a, tcp(8080))
    lan.add(lan.a, tcp(8080))
    assert lan.elements() == 2
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"


def test_check_sees_what_is_gone(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080))

    def found() -> str:
        outcome = lan.host.check(config, lan.a.namespace, lan.a.result(), container_id="a")
        return outcome.result["msg"] if outcome.code else ""

    assert found() == ""
    lan.host.namespace.nft("flush", "chain", "inet", "cni_portmap", "networks")
    assert found() == "port mappings are not as they were made: chain `cni_portmap networks` has no rules"
    lan.host.namespace.nft("flush", "ruleset")
    assert "host port `8080/tcp` does not lead to 10.42.0.2" in found()
    lan.add(lan.a, tcp(8080))
    assert found() == ""
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"


def test_gc_keeps_the_valid_and_other_networks(lan: Lan) -> None:
    lan.add(lan.a, tcp(8080), udp(8080))
    lan.add(lan.b, tcp(9090))
    other = lan.add(lan.b, tcp(7070), name=lan.network + "-x")

    def collect(*valid: str, name: str = lan.network) -> None:
        keep = [{"containerID": each, "ifname": "eth0"} for each in valid]
        config = {"cniVersion": "1.1.0", "name": name, "type": "portmap", "cni.dev/valid-attachments": keep}
        assert lan.host.call("GC", config).code == 0

    collect("b")
    assert ask(lan.client, NODE[4], 8080) is None
    assert ask(lan.client, NODE[4], 9090) == "b 192.0.2.2"
    collect()
    collect()
    assert ask(lan.client, NODE[4], 7070) == "b 192.0.2.2"
    collect(name=other["name"])
    assert "cni_portmap" not in lan.host.namespace.nft()


def test_without_mappings_the_result_goes_on(lan: Lan) -> None:
    lan.add(lan.a)
    assert "cni_portmap" not in lan.host.namespace.nft()


def test_container_runtimes_write_keys_as_they_like(lan: Lan) -> None:
    lan.add(lan.a, {"HostPort": 8080, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""})
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"


def test_status(lan: Lan) -> None:
    config = {"cniVersion": "1.1.0", "name": lan.network, "type": "portmap", "conditionsV4": ["ip saddr 10.0.0.0/8"]}
    assert lan.host.call("STATUS", config).code == 0
    assert lan.host.namespace.nft() == "", "STATUS changes nothing"
    outcome = lan.host.call("STATUS", {**config, "conditionsV4": ["no such match"]})
    assert (outcome.code, outcome.result["code"]) == (1, 50)
    config["backend"] = "nftables"
    without_nft = lan.host.call("STATUS", config, before=("unshare", "-m", "sh", "-c", HIDE_NFT, "sh"))
    assert without_nft.result["code"] == 50
    assert "install the package nftables" in without_nft.result["msg"]


HIDE_NFT = 'for nft in /usr/sbin/nft; do mount --bind /dev/null $nft; done; exec "$@"'


def test_many_at_once(lan: Lan) -> None:
    configs = [lan.config(lan.a, tcp(9000 + n), udp(9000 + n)) for n in range(12)]

    def attach(index: int) -> None:
        lan.host.add(configs[index], lan.a.namespace, container_id=f"c{index}")

    threads = [threading.Thread(target=attach, args=(n,)) for n in range(len(configs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert lan.elements() == 4 * len(configs)
    assert [ask(lan.client, NODE[4], 9000 + n) for n in range(12)] == ["a 192.0.2.2"] * 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_refusals(lan_less: Callable, case: dict) -> None:
    result = lan_less(case.get("command", "ADD"), case["config"])
    assert result["code"] == case["code"]
    assert case["message"] in result["msg"]


@pytest.fixture(scope="module")
def lan_less(plugin_bin: Path) -> Callable[[str, dict], dict]:
    """portmap where it must not come to the kernel: in an empty network namespace."""

    def call(command: str, config: dict) -> dict:
        environment = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_PATH": str(plugin_bin),
            "CNI_NETNS": "/proc/self/ns/net", "CNI_NETNS_OVERRIDE": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        whole = {"cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": PREVIOUS, **config}
        whole = {key: value for key, value in whole.items() if value is not None}
        argv = ["unshare", "-n", str(plugin_bin / "portmap")]
        done = subprocess.run(argv, input=json.dumps(whole), env=environment, capture_output=True, text=True)
        assert done.returncode == 1, done
        return json.loads(done.stdout)

    return call


PREVIOUS = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "eth0", "sandbox": "/proc/self/ns/net"}],
    "ips": [{"address": "10.42.0.2/24", "interface": 0}],
}


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_a_program_that_listens_has_its_port(lan: Lan, backend: str) -> None:
    with open_in(lan.host.namespace, socket.AF_INET, TCP) as server:
        server.bind(("0.0.0.0", 8080))
        server.listen()
        config = lan.config(lan.a, tcp(8080), backend=backend)
        outcome = lan.host.call("ADD", config, netns=lan.a.namespace.path, container_id="a")
        assert (outcome.code, outcome.result["code"]) == (1, 100)
        assert "host port `8080/tcp` is in use: " in outcome.result["msg"]
        assert "listens on it" in outcome.result["msg"]
        lan.add(lan.b, udp(8080), backend=backend)
    with open_in(lan.host.namespace, socket.AF_INET, TCP) as server:
        server.bind(("127.0.0.1", 8080))
        server.listen()
        lan.add(lan.a, tcp(8080), backend=backend)
        lan.add(lan.a, tcp(8080), backend=backend)
        assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"
