"""`ipMasq` by iptables, of bridge and ptp: packets, the reference's rules, and each takes off the other's."""

from __future__ import annotations

import pytest

from tests.plugins.conftest import REFERENCE, WAYS, Host, Namespace

pytestmark = pytest.mark.root
THEIRS = pytest.mark.skipif(not (REFERENCE / "bridge").exists(), reason="the reference plugins are not installed")
PLUGINS = ("bridge", "ptp")


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


def config(host: Host, network: str, plugin: str, **more) -> dict:
    ipam = {"type": "host-local", "dataDir": str(host.state), "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            "ranges": [[{"subnet": "10.42.0.0/24"}], [{"subnet": "fd42::/64"}]]}  # fmt: skip
    return {"cniVersion": "1.0.0", "name": network, "type": plugin, "isGateway": True, "ipMasq": True,
            "ipMasqBackend": "iptables", "ipam": ipam, **more}  # fmt: skip


def rules(host: Host) -> list[str]:
    found = []
    for program in ("iptables-save", "ip6tables-save"):
        lines = host.namespace.run(program, "-t", "nat").splitlines()
        found += [f"{program} {line}" for line in lines if line.startswith("-A")]
    return found


@pytest.fixture
def outside(host: Host, make_namespace) -> Namespace:
    """A neighbour of the host who knows no way to containers."""
    there = make_namespace()
    host.namespace.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", str(there.pid))
    for namespace, number in ((host.namespace, 1), (there, 2)):
        namespace.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "up0")
        namespace.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "up0", "nodad")
        namespace.run("ip", "link", "set", "up0", "up")
    return there


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plugin", PLUGINS)
def test_packets_are_masqueraded(host: Host, container: Namespace, network: str, outside, plugin: str) -> None:
    wanted = config(host, network, plugin)
    result = host.add(wanted, container)
    for address in ("192.0.2.2", "2001:db8::2"):
        assert any(container.pings(address) for _ in range(10)), "the bridge's address is being looked for at first"
    assert host.check(wanted, container, result).code == 0
    assert "cni_masquerade" not in host.namespace.nft()
    host.namespace.run("iptables", "-t", "nat", "-F", "POSTROUTING")
    outcome = host.check(wanted, container, result)
    assert "POSTROUTING has no rule `-s 10.42.0.2/32" in outcome.result["msg"]
    host.delete(wanted, container)
    assert rules(host) == []
    host.delete(wanted, None)


def test_two_interfaces_of_a_container(host: Host, container: Namespace, network: str) -> None:
    """They share a chain, as in the reference; the first DEL leaves the other its rules."""
    wanted = config(host, network, "bridge")
    results = [host.add(wanted, container, ifname=name) for name in ("eth0", "eth1")]
    host.delete({**wanted, "prevResult": results[0]}, container)
    assert host.check(wanted, container, results[1], ifname="eth1").code == 0
    host.delete({**wanted, "prevResult": results[1]}, None, ifname="eth1")
    assert rules(host) == []


@pytest.mark.parametrize("way", WAYS)
def test_gc_keeps_what_is_valid(host: Host, make_namespace, network: str) -> None:
    wanted = config(host, network, "bridge", cniVersion="1.1.0")
    results = {}
    for name in ("one", "two"):
        results[name] = make_namespace()
        host.add(wanted, results[name], container_id=name)
    keep = [{"containerID": "two", "ifname": "eth0"}]
    for _ in range(2):
        assert host.call("GC", {**wanted, "cni.dev/valid-attachments": keep}).code == 0
        assert not any("10.42.0.2/32" in rule for rule in rules(host))
        assert any("10.42.0.3/32" in rule for rule in rules(host))


def test_a_failed_add_leaves_no_rule(host: Host, container: Namespace, network: str) -> None:
    wanted = config(host, network, "bridge")
    wanted["ipam"]["routes"] = [{"dst": "198.51.100.0/24", "gw": "203.0.113.1"}]
    outcome = host.call("ADD", wanted, netns=container.path)
    assert outcome.code == 1
    assert rules(host) == []


def test_status(host: Host, network: str) -> None:
    wanted = config(host, network, "bridge", cniVersion="1.1.0")
    assert host.call("STATUS", wanted).code == 0
    hide = 'mount --bind /dev/null /usr/sbin/ip6tables-restore; exec "$@"'
    outcome = host.call("STATUS", wanted, before=("unshare", "-m", "sh", "-c", hide, "sh"))
    assert (outcome.code, outcome.result["code"]) == (1, 50)


@THEIRS
@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_reference_makes_the_same_and_each_takes_the_others(
    host: Host, container: Namespace, network: str, plugin: str
) -> None:
    wanted, theirs = config(host, network, plugin), str(REFERENCE)
    result = host.add(wanted, container, path=theirs)
    made = rules(host)
    assert host.check(wanted, container, result).code == 0
    host.delete({**wanted, "prevResult": result}, container)
    assert rules(host) == []
    wanted["ipam"]["ranges"] = [[{"subnet": "10.42.0.0/24", "rangeStart": "10.42.0.2"}], [{"subnet": "fd42::/64"}]]
    result = host.add(wanted, container)
    addresses = [ip["address"].split("/")[0] for ip in result["ips"]]
    assert sorted(made) == sorted(with_addresses(rules(host), addresses, ["10.42.0.2", "fd42::2"]))
    host.delete({**wanted, "prevResult": result}, container, path=theirs)
    assert rules(host) == []
    host.delete(wanted, container)


def with_addresses(found: list[str], old: list[str], new: list[str]) -> list[str]:
    """The reference gives the next address each time."""
    for before, after in zip(old, new, strict=True):
        found = [
            rule.replace(f"{before}/32", f"{after}/32").replace(f"{before}/128", f"{after}/128") for rule in found
        ]
    return found
