"""dhcp with its daemon and real servers: dnsmasq, and the ISC's where it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.plugins.conftest import HOLD_HOST, WAYS, Host, Namespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("dnsmasq", path="/usr/sbin:/usr/bin"), reason="dnsmasq is not installed"),
]
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/dhcp.yaml").read_text())
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
PATIENCE = 15
DHCPD = """authoritative; min-lease-time 1; default-lease-time {}; max-lease-time 600; ping-check false;
subnet 192.168.9.0 netmask 255.255.255.0 {{
  range {} ; option routers 192.168.9.1; option domain-name-servers 192.168.9.1;
}}
"""
ISC = pytest.mark.skipif(not shutil.which("dhcpd", path="/usr/sbin"), reason="isc-dhcp-server is not installed")


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


@dataclass
class Net:
    """A host whose bridge leads to a namespace with a server, and the daemon."""

    host: Host
    server: Namespace
    folder: Path
    executable: str
    name: str
    stack: ExitStack = field(repr=False)

    def config(self, version: str = "1.1.0", **ipam) -> dict:
        return {"cniVersion": version, "name": self.name, "type": "bridge", "bridge": "br0",
                "ipam": {"type": "dhcp", **ipam}}  # fmt: skip

    def serve(self, *options: str, range: str = "192.168.9.10,192.168.9.19,2m") -> subprocess.Popen:
        """dnsmasq, once it listens."""
        log = self.folder / f"dnsmasq-{time.monotonic_ns()}.log"
        argv = ("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=up0", "--no-ping",
                "--dhcp-authoritative", f"--dhcp-range={range}", "--dhcp-option=option:router,192.168.9.1",
                f"--dhcp-leasefile={self.folder}/{log.stem}.leases", "--log-dhcp", f"--log-facility={log}",
                *options)  # fmt: skip
        return self.start(self.server, argv, lambda: "sockets bound" in read(log) or "DHCP, IP range" in read(log))

    def serve_by_isc(self, seconds: int, range: str) -> subprocess.Popen:
        """The ISC's server, whose leases may be short."""
        written = DHCPD.format(seconds, range)
        script = ("cat > /run/dhcpd.conf && touch /run/leases && exec dhcpd -f -d --no-pid -user root -group root "
                  "-cf /run/dhcpd.conf -lf /run/leases up0")  # fmt: skip
        before, log = read(self.folder / "processes.log"), self.folder / "processes.log"
        (self.folder / "dhcpd.conf").write_text(written)
        argv = ("sh", "-c", f"exec < {self.folder}/dhcpd.conf; {script}")
        return self.start(self.server, argv, lambda: "Server starting service" in read(log)[len(before) :])

    def daemon(self, *options: str) -> subprocess.Popen:
        argv = (self.executable, "daemon", "-timeout", "3s", "-resendtimeout", "4s", *options)
        return self.start(self.host.namespace, argv, lambda: self.host.namespace.succeeds("test", "-S", SOCKET))

    def start(self, where: Namespace, argv: tuple[str, ...], ready: Callable[[], bool]) -> subprocess.Popen:
        log = self.stack.enter_context((self.folder / "processes.log").open("a"))
        process = subprocess.Popen(where.enter(*argv), stdout=log, stderr=log)
        self.stack.callback(end, process)
        wait_for(ready, self)
        return process

    def leased(self) -> str:
        """What dnsmasq says in all its logs."""
        return "".join(read(one) for one in sorted(self.folder.glob("dnsmasq-*.log")))

    def said(self) -> str:
        """By the daemons and the ISC's servers."""
        return read(self.folder / "processes.log")

    def pid_of(self, path: str) -> int:
        return int(self.host.namespace.run("cat", path))

    def files(self) -> list[str]:
        listed = self.host.namespace.run("sh", "-c", "ls /run/cni-provision/dhcp 2>/dev/null || true")
        return listed.split()


SOCKET = "/run/cni/dhcp.sock"


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def end(process: subprocess.Popen, number: int = signal.SIGTERM) -> None:
    if process.poll() is None:
        process.send_signal(number)
    process.wait(PATIENCE)


def wait_for(condition: Callable[[], bool], net: Net) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, net.said()[-2000:]
        time.sleep(0.05)


@pytest.fixture
def net(
    host: Host, make_namespace: Callable[..., Namespace], plugin_bin: Path, tmp_path: Path, network: str
) -> Iterator[Net]:
    server = make_namespace(HOLD_HOST)
    server.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", str(host.namespace.pid))
    for number in (1, 2):
        server.run("ip", "addr", "add", f"192.168.9.{number}/24", "dev", "up0")
    server.run("ip", "link", "set", "up0", "up")
    lines = ("link add br0 type bridge", "link set br0 up", "link set up0 master br0 up")
    host.namespace.run("ip", "-batch", "-", input="\n".join(lines))
    with ExitStack() as stack:
        yield Net(host, server, tmp_path, str(plugin_bin / "dhcp"), network, stack)


@pytest.mark.parametrize(("way", "version"), [*((WAYS[-1], one) for one in VERSIONS), (WAYS[0], VERSIONS[-1])])
def test_comes_and_goes(net: Net, container: Namespace, version: str) -> None:
    net.serve()
    net.daemon()
    config = net.config(version)
    net.host.add(config, container)
    (own,) = container.addresses("eth0")
    assert re.fullmatch(r"192\.168\.9\.1\d/24", own)
    assert [one["gateway"] for one in container.routes() if one["dst"] == "default"] == ["192.168.9.1"]
    assert container.pings("192.168.9.1")
    assert len(net.files()) == 1
    net.host.delete(config, container)
    assert net.files() == []
    wait_for(lambda: "DHCPRELEASE" in net.leased(), net)
    net.host.delete(config, container)
    net.host.delete(config, None)


@pytest.mark.parametrize("way", WAYS)
def test_check_sees_the_lease(net: Net, container: Namespace) -> None:
    net.serve()
    net.daemon()
    config = net.config()
    result = net.host.add(config, container)
    assert net.host.check(config, container, result).code == 0
    other = json.loads(json.dumps(result).replace("192.168.9.1", "192.168.9.2"))
    assert "by now, the result has 192.168.9.2" in net.host.check(config, container, other).result["msg"]
    net.host.delete(config, container)
    outcome = net.host.call("CHECK", {**config, "prevResult": result}, plugin="dhcp", netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"]) == (101, "DHCP: there is no DHCP lease for `eth0`")


def test_what_is_told_and_asked(net: Net, container: Namespace) -> None:
    net.serve("--dhcp-option=6,192.168.9.1", "--dhcp-option=121,0.0.0.0/0,192.168.9.1,10.0.0.0/8,192.168.9.2")
    net.daemon("-broadcast")
    provide = [{"option": "host-name", "value": "web"}, {"option": "60", "fromArg": "VENDOR"},
               {"option": "dhcp-client-identifier", "fromArg": "ABSENT"}]  # fmt: skip
    config = net.config(provide=provide, request=[{"option": "121"}, {"option": "6"}], priority=77)
    result = net.host.add(config, container, args="VENDOR=ours;IgnoreUnknown=1")
    assert result["dns"] == {"nameservers": ["192.168.9.1"]}
    assert result["routes"] == [
        {"dst": "0.0.0.0/0", "gw": "192.168.9.1", "priority": 77},
        {"dst": "10.0.0.0/8", "gw": "192.168.9.2", "priority": 77},
    ]
    assert {one.get("metric") for one in container.routes() if one["dst"] in ("default", "10.0.0.0/8")} == {77}
    said = net.leased()
    assert "client provides name: web" in said
    assert "vendor class: ours" in said
    assert "requested options: 121:classless-static-route, 6:dns-server" in said
    without = net.config(request=[{"skipDefault": True}, {"option": "subnet-mask"}])
    net.host.delete(config, container, args="VENDOR=ours;IgnoreUnknown=1")
    assert "gateway" not in net.host.add(without, container)["ips"][0]


def test_without_a_mask_there_is_no_address(net: Net, container: Namespace) -> None:
    net.serve("--dhcp-option-force=1")
    net.daemon()
    config = net.config(request=[{"skipDefault": True}])
    outcome = net.host.call("ADD", config, netns=container.path)
    if outcome.code == 0:
        pytest.skip("this dnsmasq sends a mask whatever is asked for")
    assert "DHCP option Subnet Mask not found in DHCPACK" in outcome.result["msg"]
    assert container.links() == {"lo"}
    assert net.files() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: case["about"])
def test_refused(net: Net, container: Namespace, case: dict) -> None:
    ipam = json.loads(json.dumps(case["ipam"]).replace("@LONG", "a" * 256))
    outcome = net.host.call("ADD", net.config(**ipam), netns=container.path)
    assert (outcome.code, outcome.result["code"], outcome.result["msg"]) == (1, 7, case["message"])
    assert container.links() == {"lo"}


def test_without_a_daemon(net: Net, container: Namespace) -> None:
    config = net.config()
    outcome = net.host.call("ADD", config, netns=container.path)
    assert (outcome.code, outcome.result["code"]) == (1, 11)
    assert "error dialing DHCP daemon at `/run/cni/dhcp.sock`" in outcome.result["msg"]
    assert container.links() == {"lo"}
    net.host.delete(config, container)
    assert net.host.call("STATUS", config).result["code"] == 50
    assert net.host.call("GC", {**config, "cni.dev/valid-attachments": []}).code == 0


@pytest.mark.parametrize("way", WAYS)
def test_no_server_answers(net: Net, container: Namespace) -> None:
    net.daemon("-timeout", "500ms", "-resendtimeout", "700ms")
    outcome = net.host.call("ADD", net.config(), netns=container.path)
    assert (outcome.code, outcome.result["code"]) == (1, 11)
    assert "no more tries: no DHCP server answers `eth0`" in outcome.result["msg"]
    assert container.links() == {"lo"}


@ISC
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_new_daemon_goes_on(net: Net, container: Namespace, number: int) -> None:
    net.serve_by_isc(8, "192.168.9.100 192.168.9.110")
    first = net.daemon("-pidfile", "/run/dhcp.pid")
    config = net.config()
    result = net.host.add(config, container)
    os.kill(net.pid_of("/run/dhcp.pid"), number)
    first.wait(PATIENCE)
    assert net.host.namespace.succeeds("test", "-S", SOCKET) == (number == signal.SIGKILL)
    assert container.addresses("eth0")
    net.host.namespace.run("rm", "-f", SOCKET)
    before = net.said().count("renewed")
    net.daemon()
    assert "goes on with 1 leases" in net.said()
    assert net.host.check(config, container, result).code == 0
    wait_for(lambda: net.said().count("renewed") > before, net)
    net.host.delete(config, container)
    wait_for(lambda: "DHCPRELEASE of 192.168.9.1" in net.said(), net)


def test_delete_while_no_daemon_runs(net: Net, container: Namespace) -> None:
    net.serve()
    first = net.daemon()
    config = net.config()
    net.host.add(config, container)
    end(first)
    net.host.delete(config, container)
    assert net.files() == []
    net.daemon()
    assert "goes on with 0 leases" in read(net.folder / "processes.log").splitlines()[-1]


@ISC
def test_the_interface_follows_the_server(net: Net, container: Namespace) -> None:
    """Renewed by the same server; then there is one that does not know the address."""
    first = net.serve_by_isc(4, "192.168.9.100 192.168.9.110")
    net.daemon()
    config = net.config()
    result = net.host.add(config, container)
    (before,) = container.addresses("eth0")
    wait_for(lambda: net.said().count("renewed") >= 2, net)
    assert container.addresses("eth0") == {before}
    end(first)
    net.server.run("rm", "/run/leases")
    net.serve_by_isc(600, "192.168.9.200 192.168.9.210")
    wait_for(lambda: any(".9.2" in one for one in container.addresses("eth0")), net)
    assert len(container.addresses("eth0")) == 1
    wait_for(lambda: any(one["dst"] == "default" for one in container.routes()), net)
    assert container.pings("192.168.9.1")
    assert "by now" in net.host.check(config, container, result).result["msg"]
    net.host.delete(config, container)
    assert net.files() == []


@ISC
def test_a_container_that_vanished_is_forgotten(net: Net, make_namespace: Callable[..., Namespace]) -> None:
    net.serve_by_isc(4, "192.168.9.100 192.168.9.110")
    net.daemon()
    gone = make_namespace()
    net.host.add(net.config(), gone)
    gone.end()
    wait_for(lambda: net.files() == [], net)


def test_two_interfaces_and_gc(net: Net, container: Namespace, make_namespace: Callable[..., Namespace]) -> None:
    net.serve()
    net.daemon()
    config, other = net.config(), make_namespace()
    for name in ("eth0", "eth1"):
        net.host.add(config, container, ifname=name)
    net.host.add(config, other, container_id="other")
    assert len(net.files()) == 3
    outcome = net.host.call("STATUS", config)
    assert outcome.code == 0
    valid = [{"containerID": "container-1", "ifname": "eth1"}]
    for _ in range(2):
        assert net.host.call("GC", {**config, "cni.dev/valid-attachments": valid}).code == 0
        assert len(net.files()) == 1


def test_an_exhausted_server(net: Net, make_namespace: Callable[..., Namespace]) -> None:
    net.serve(range="192.168.9.10,192.168.9.10,2m")
    net.daemon()
    first, second = make_namespace(), make_namespace()
    net.host.add(net.config(), first)
    outcome = net.host.call("ADD", net.config(), netns=second.path, container_id="second")
    assert (outcome.code, outcome.result["code"]) == (1, 11)
    assert second.links() == {"lo"}
    net.host.delete(net.config(), first)
    wait_for(lambda: "DHCPRELEASE" in net.leased(), net)
    net.host.add(net.config(), second, container_id="second")


def test_the_daemon_refuses_what_it_is_not_for(net: Net) -> None:
    net.daemon()
    second = subprocess.run(
        net.host.namespace.enter(net.executable, "daemon"), capture_output=True, text=True, timeout=30
    )
    assert (second.returncode, "listens on `/run/cni/dhcp.sock` already" in second.stderr) == (1, True)
    asked = f"s.connect('{SOCKET}'); s.send(b'CONNECT /_goRPC_ HTTP/1.0\\n\\n'); print(s.recv(99))"
    script = f"import socket; s = socket.socket(socket.AF_UNIX); {asked}"
    assert "HTTP/1.0 400" in net.host.namespace.run("python3", "-c", script)


@ISC
def test_the_server_of_the_isc(net: Net, container: Namespace) -> None:
    net.serve_by_isc(600, "192.168.9.100 192.168.9.110")
    net.daemon()
    config = net.config(request=[{"option": "6"}])
    result = net.host.add(config, container)
    assert result["ips"][0]["address"].startswith("192.168.9.1")
    assert result["dns"] == {"nameservers": ["192.168.9.1"]}
    assert net.host.check(config, container, result).code == 0
    net.host.delete(config, container)
    wait_for(lambda: "DHCPRELEASE of 192.168.9.1" in net.said(), net)


def test_above_an_interface_of_the_host(net: Net, container: Namespace) -> None:
    """macvlan is what DHCP is mostly used with."""
    net.serve()
    net.daemon()
    config = {"cniVersion": "1.1.0", "name": net.name, "type": "macvlan", "master": "br0", "ipam": {"type": "dhcp"}}
    outcome = net.host.call("ADD", config, netns=container.path)
    if outcome.code and "has no macvlan" in outcome.result["msg"]:
        pytest.skip("this kernel has no macvlan interfaces")
    assert outcome.code == 0, outcome
    assert container.addresses("eth0")
    assert net.host.check(config, container, outcome.result).code == 0
    net.host.delete(config, container)
    wait_for(lambda: "DHCPRELEASE" in net.leased(), net)
    assert net.files() == []


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_a_socket_of_systemd(net: Net, container: Namespace) -> None:
    net.serve()
    net.host.namespace.run("mkdir", "-p", "/run/cni")
    argv = ("systemd-socket-activate", f"--listen={SOCKET}", net.executable, "daemon", "-timeout", "3s")
    process = net.start(net.host.namespace, argv, lambda: net.host.namespace.succeeds("test", "-S", SOCKET))
    config = net.config()
    net.host.add(config, container)
    net.host.delete(config, container)
    end(process)
    assert net.host.namespace.succeeds("test", "-S", SOCKET), "it is not ours to remove"
