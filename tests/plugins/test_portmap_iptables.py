"""portmap by iptables: the same packets as with nftables, the reference's rules, and each takes off the other's."""

from __future__ import annotations

import pytest

from tests.plugins.conftest import REFERENCE, WAYS
from tests.plugins.test_portmap import NODE, OTHER_NODE_ADDRESS, TCP, UDP, Lan, ask, tcp, udp
from tests.plugins.test_portmap import lan as shared_lan

lan = shared_lan
pytestmark = pytest.mark.root
IPTABLES = {"backend": "iptables"}
THEIRS = pytest.mark.skipif(not (REFERENCE / "portmap").exists(), reason="the reference plugins are not installed")
COMPARED = {  # Debian's version has no `masqAll` yet
    "usual": {},
    "no masquerading": {"snat": False},
    "another mark": {"markMasqBit": 5},
    "somebody else's mark": {"externalSetMarkChain": "KUBE-MARK-MASQ"},
    "conditions": {"conditionsV4": ["!", "-s", "192.0.2.7/32"], "conditionsV6": ["-s", "2001:db8:1::2/128"]},
}


@pytest.fixture
def way() -> str:
    """One way is enough for most of this: the same code runs on both."""
    return WAYS[-1]


def rules(lan: Lan) -> list[str]:
    """The rules of iptables' nat tables."""
    found = []
    for program in ("iptables-save", "ip6tables-save"):
        lines = lan.host.namespace.run(program, "-t", "nat").splitlines()
        found += [f"{program} {line}" for line in lines if line.startswith("-A")]
    return found


def of_containers(lan: Lan) -> list[str]:
    return [rule for rule in rules(lan) if "CNI-DN-" in rule or "CNI-SN-" in rule]


def nothing_left(lan: Lan) -> None:
    assert of_containers(lan) == []
    assert lan.elements() == 0
    listed = lan.host.namespace.run("sh", "-c", "ls /run/cni-provision/attachments 2>/dev/null || true").split()
    assert [name for name in listed if name != "lock"] == []


@pytest.mark.parametrize("way", WAYS)
def test_from_everywhere(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080), udp(8080), **IPTABLES)
    node = lan.host.namespace
    for kind in (TCP, UDP):
        assert ask(lan.client, NODE[4], 8080, kind) == "a 192.0.2.2"
        assert ask(lan.client, NODE[6], 8080, kind) == "a 2001:db8:1::2"
        assert ask(node, "127.0.0.1", 8080, kind) == "a 10.42.0.1"
        assert ask(lan.a.namespace, NODE[4], 8080, kind) == "a 10.42.0.1"  # hairpin
        assert ask(lan.b.namespace, NODE[6], 8080, kind) == "a fd42::1"
    assert lan.host.check(config, lan.a.namespace, lan.a.result(), container_id="a").code == 0
    assert lan.elements() == 0
    lan.delete(lan.a, config)
    assert ask(lan.client, NODE[4], 8080) is None
    nothing_left(lan)
    lan.delete(lan.a, config)


def test_options_of_iptables_choose_it(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080), conditionsV4=["!", "-s", "192.0.2.2"])
    assert ask(lan.client, NODE[4], 8080) is None
    assert ask(lan.host.namespace, "127.0.0.1", 8080) == "a 10.42.0.1"
    lan.delete(lan.a, config)
    lan.add(lan.a, tcp(8080), markMasqBit=3)
    assert any("--set-xmark 0x8/0x8" in rule for rule in rules(lan))
    assert ask(lan.host.namespace, "127.0.0.1", 8080) == "a 10.42.0.1"


def test_one_address_of_the_node_and_many_ports(lan: Lan) -> None:
    ports = [tcp(9000 + number) for number in range(20)]
    config = lan.add(lan.a, tcp(8080, hostIP=NODE[4]), tcp(8083, hostIP="::"), *ports, **IPTABLES)
    assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"
    assert ask(lan.client, OTHER_NODE_ADDRESS, 8080) is None
    assert ask(lan.client, NODE[4], 8083) is None
    assert ask(lan.client, NODE[6], 8083) == "a 2001:db8:1::2"
    assert ask(lan.client, NODE[4], 9019) == "a 192.0.2.2"
    assert sum("multiport" in rule for rule in rules(lan)) == 4, "two rules for each family"
    lan.delete(lan.a, config)
    nothing_left(lan)


@pytest.mark.parametrize("backends", [("iptables", "iptables"), ("iptables", "nftables"), ("nftables", "iptables")])
def test_a_port_that_is_taken(lan: Lan, backends: tuple[str, str]) -> None:
    first = lan.add(lan.a, tcp(8080), backend=backends[0])
    config = lan.config(lan.b, tcp(9090), tcp(8080), backend=backends[1])
    outcome = lan.host.call("ADD", config, netns=lan.b.namespace.path, container_id="b")
    assert (outcome.code, outcome.result["code"]) == (1, 100)
    assert "host port `8080/tcp` is in use" in outcome.result["msg"]
    assert ask(lan.client, NODE[4], 9090) is None, "the other ports of a refused call stay free"
    lan.delete(lan.a, first)
    nothing_left(lan)
    config = lan.add(lan.b, tcp(8080), backend=backends[1])
    assert ask(lan.client, NODE[4], 8080) == "b 192.0.2.2"


def test_two_interfaces_of_a_container_do_not_share(lan: Lan) -> None:
    first, second = (lan.config(lan.a, tcp(port), **IPTABLES) for port in (8080, 8081))
    second["prevResult"]["interfaces"][2]["name"] = "eth1"
    lan.host.add(first, lan.a.namespace, container_id="a")
    lan.host.add(second, lan.a.namespace, container_id="a", ifname="eth1")
    lan.host.delete(first, lan.a.namespace, container_id="a")
    lan.host.delete(first, lan.a.namespace, container_id="a")
    assert ask(lan.client, NODE[4], 8080) is None
    assert ask(lan.client, NODE[4], 8081) == "a 192.0.2.2"
    lan.host.delete(second, None, container_id="a", ifname="eth1")
    nothing_left(lan)


def test_again_after_a_kill_with_another_backend(lan: Lan) -> None:
    for backend in ("iptables", "iptables", "nftables", "iptables"):
        config = lan.add(lan.a, tcp(8080), backend=backend)
        assert ask(lan.client, NODE[4], 8080) == "a 192.0.2.2"
    assert len(of_containers(lan)) == 2 * (1 + 3) - 1
    lan.delete(lan.a, config)
    nothing_left(lan)


@pytest.mark.parametrize("way", WAYS)
def test_a_failure_in_the_middle_leaves_nothing(lan: Lan) -> None:
    """IPv4 is there already when ip6tables refuses."""
    config = lan.config(lan.a, tcp(8080), **IPTABLES, conditionsV6=["--nonsense"])
    outcome = lan.host.call("ADD", config, netns=lan.a.namespace.path, container_id="a")
    assert (outcome.code, "ip6tables-restore: " in outcome.result["msg"]) == (1, True)
    nothing_left(lan)


def test_udp_that_flows_follows_the_mapping(lan: Lan) -> None:
    config = lan.add(lan.a, udp(8080), **IPTABLES)
    assert ask(lan.client, NODE[4], 8080, UDP) == "a 192.0.2.2"
    lan.delete(lan.a, config)
    followed = lan.host.namespace.run("conntrack", "-L", "-p", "udp", "--orig-port-dst", "8080", check=False)
    assert followed == ""


def test_check_sees_what_is_gone(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080), **IPTABLES)

    def found() -> str:
        outcome = lan.host.check(config, lan.a.namespace, lan.a.result(), container_id="a")
        return outcome.result["msg"] if outcome.code else ""

    assert found() == ""
    lan.host.namespace.run("iptables", "-t", "nat", "-F", "CNI-HOSTPORT-DNAT")
    assert "CNI-HOSTPORT-DNAT has 0 rules that lead to CNI-DN-" in found()
    lan.host.namespace.run("ip6tables", "-t", "nat", "-F")
    assert "has no rule `-p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd42::2]:80`" in found()


@pytest.mark.parametrize("way", WAYS)
def test_gc_keeps_the_valid(lan: Lan) -> None:
    lan.add(lan.a, tcp(8080), **IPTABLES)
    lan.add(lan.b, tcp(9090), **IPTABLES)
    keep = [{"containerID": "b", "ifname": "eth0"}]
    config = {"cniVersion": "1.1.0", "name": lan.network, "type": "portmap", "cni.dev/valid-attachments": keep}
    for _ in range(2):
        assert lan.host.call("GC", config).code == 0
        assert ask(lan.client, NODE[4], 8080) is None
        assert ask(lan.client, NODE[4], 9090) == "b 192.0.2.2"
    assert lan.host.call("GC", {**config, "cni.dev/valid-attachments": []}).code == 0
    nothing_left(lan)


def test_status(lan: Lan) -> None:
    config = {"cniVersion": "1.1.0", "name": lan.network, "type": "portmap", **IPTABLES}
    assert lan.host.call("STATUS", config).code == 0
    hide = 'mount --bind /dev/null /usr/sbin/ip6tables-restore; exec "$@"'
    outcome = lan.host.call("STATUS", config, before=("unshare", "-m", "sh", "-c", hide, "sh"))
    assert (outcome.code, outcome.result["code"]) == (1, 50)


@THEIRS
@pytest.mark.parametrize("options", COMPARED.values(), ids=COMPARED)
def test_the_reference_makes_the_same_and_each_takes_the_others(lan: Lan, options: dict) -> None:
    mappings = (tcp(8080), tcp(8081, hostIP=NODE[4]), udp(8080), tcp(8443, hostIP="::"))
    config, theirs = lan.config(lan.a, *mappings, **options), str(REFERENCE)
    for program in ("iptables", "ip6tables"):
        lan.host.namespace.run(program, "-t", "nat", "-N", "KUBE-MARK-MASQ")
    lan.host.add(config, lan.a.namespace, container_id="a", path=theirs)
    made, of_its_own = rules(lan), theirs_says(lan, config)
    ours = {**config, **IPTABLES}
    assert lan.host.check(ours, lan.a.namespace, lan.a.result(), container_id="a").code == 0
    lan.delete(lan.a, config)
    nothing_left(lan)
    for program in ("iptables", "ip6tables"):
        lan.host.namespace.run(program, "-t", "nat", "-F")
    lan.host.add(ours, lan.a.namespace, container_id="a")
    assert sorted(rules(lan)) == sorted(made)
    assert [rule for rule in rules(lan) if "CNI-DN" in rule] == [rule for rule in made if "CNI-DN" in rule]
    assert theirs_says(lan, config) == of_its_own
    lan.host.delete(config, lan.a.namespace, container_id="a", path=theirs)
    assert of_containers(lan) == []
    lan.delete(lan.a, config)
    nothing_left(lan)


def theirs_says(lan: Lan, config: dict) -> str:
    """Its CHECK; Debian's version looks for the rules of both families in both."""
    outcome = lan.host.call("CHECK", config, netns=lan.a.namespace.path, container_id="a", path=str(REFERENCE))
    return outcome.result["msg"] if outcome.code else ""


def test_everybody_is_masqueraded(lan: Lan) -> None:
    config = lan.add(lan.a, tcp(8080), **IPTABLES, masqAll=True)
    assert ask(lan.client, NODE[4], 8080) == "a 10.42.0.1"
    assert ask(lan.client, NODE[6], 8080) == "a fd42::1"
    assert lan.host.check(config, lan.a.namespace, lan.a.result(), container_id="a").code == 0
