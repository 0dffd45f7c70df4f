from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[1] / "cases" / "bridge"
REFERENCE = Path("/usr/lib/cni/bridge")
pytestmark = pytest.mark.root


def cases(folder: str) -> list:
    return [
        pytest.param(json.loads(file.read_text()), id=file.stem) for file in sorted((CASES / folder).glob("*.json"))
    ]


def filled(config: dict, host, network: str) -> dict:
    """A case's configuration with this test's network name and lease directory."""
    text = json.dumps(config).replace("@NETWORK", network).replace("@STATE", str(host.state))
    return json.loads(text)


def anonymous(result: dict, netns: str) -> dict:
    """A result without what differs from run to run."""
    text = json.dumps(result).replace(netns, "@NETNS")
    text = re.sub(r'"veth[0-9a-f]{8}"', '"@VETH"', text)
    shown = json.loads(re.sub(r'"(?!02:00)([0-9a-f]{2}:){5}[0-9a-f]{2}"', '"@MAC"', text))
    if shown.get("dns") == {}:  # older reference plugins print it where 1.0 does not ask for it
        del shown["dns"]
    return shown


def seen(host, container, ifname: str = "eth0", bridge: str = "cni0") -> dict:
    """What the kernel shows of an attachment, with one way of writing for our plugin's and the reference's."""
    inner, made = container.link(ifname), host.namespace.link(bridge)
    outer = next(one for one in host.namespace.ip("link", "show") if one.get("master") == bridge)
    port = outer["linkinfo"]["info_slave_data"]
    routes = [one for one in container.routes() if one.get("protocol") != "kernel" and one["dst"] != "ff00::/8"]
    return {
        "addresses": sorted(container.addresses(ifname)),
        "routes": sorted(f"{one['dst']} via {one.get('gateway')}" for one in routes),
        "up": "UP" in inner["flags"],
        "mtu": [made["mtu"], outer["mtu"], inner["mtu"]],
        "mac": inner["address"] if inner["address"].startswith("02:00") else "@MAC",
        "bridge addresses": sorted(host.namespace.addresses(bridge)),
        "promiscuous": "PROMISC" in made["flags"],
        "hairpin": port["hairpin"],
        "isolated": port["isolated"],
        "forwarding": [host.namespace.run("sysctl", "-n", f"net.{key}").strip() for key in FORWARDING],
        "accept_ra": host.namespace.run("sysctl", "-n", f"net.ipv6.conf.{outer['ifname']}.accept_ra").strip(),
        "arp_notify": container.run("sysctl", "-n", f"net.ipv4.conf.{ifname}.arp_notify").strip(),
    }


FORWARDING = ("ipv4.ip_forward", "ipv6.conf.all.forwarding")


def nothing_left(host, container, network: str, *others: str) -> None:
    """Only what belongs to the network as a whole may stay: the bridge, empty tables."""
    assert host.namespace.links() <= {"lo", "cni0", *others}
    assert host.leases(network) == {}
    assert "comment" not in host.namespace.nft()
    if container is not None:
        assert container.links() == {"lo"}


def config(host, network: str, **more) -> dict:
    ipam = {"type": "host-local", "dataDir": str(host.state), "ranges": [[{"subnet": "10.42.0.0/24"}]]}
    return {"cniVersion": "1.1.0", "name": network, "type": "bridge", "bridge": "cni0", "ipam": ipam, **more}


@pytest.mark.parametrize("case", cases("refused"))
def test_refused(host, container, network, case) -> None:
    wanted = filled(case["config"], host, network)
    outcome = host.call("ADD", wanted, netns=container.path, args=case.get("args", ""))
    assert outcome.code == 1
    assert (outcome.result["code"], outcome.result["msg"][: len(case["message"])]) == (case["code"], case["message"])
    nothing_left(host, container, network)


@pytest.mark.parametrize("case", cases("added"))
def test_added(host, container, network, case) -> None:
    wanted, args = filled(case["config"], host, network), case.get("args", "")
    result = host.add(wanted, container, args=args)
    assert {"result": anonymous(result, container.path), "kernel": seen(host, container)} == case["expect"]
    if wanted["cniVersion"] >= "0.4.0":
        assert host.check(wanted, container, result, args=args).code == 0
    host.delete(wanted, container, args=args)
    nothing_left(host, container, network)
    host.delete(wanted, container, args=args)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
@pytest.mark.parametrize("case", [one for one in cases("added") if one.values[0].get("reference", True)])
def test_the_reference_does_the_same(host, container, network, case) -> None:
    wanted = filled(case["config"], host, network)
    result = host.add(wanted, container, args=case.get("args", ""), path=str(REFERENCE.parent))
    assert {"result": anonymous(result, container.path), "kernel": seen(host, container)} == case["expect"]
    host.delete(wanted, container, args=case.get("args", ""))
    nothing_left(host, container, network)


@pytest.fixture
def outside(host, make_namespace):
    """A namespace that the host reaches as 192.0.2.2, and that knows no way to containers."""
    there = make_namespace()
    host.namespace.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", str(there.pid))
    for namespace, address in ((host.namespace, "192.0.2.1"), (there, "192.0.2.2")):
        namespace.run("ip", "address", "add", f"{address}/24", "dev", "up0")
        namespace.run("ip", "link", "set", "up0", "up")
    return there


DUAL = [[{"subnet": "10.42.0.0/24"}], [{"subnet": "fd42::/64"}]]


def dual(host, network: str, **more) -> dict:
    wanted = config(host, network, isDefaultGateway=True, **more)
    wanted["ipam"]["ranges"] = DUAL
    return wanted


def test_containers_reach_each_other_and_the_gateway(host, make_namespace, network) -> None:
    wanted, first, second = dual(host, network), make_namespace(), make_namespace()
    host.add(wanted, first, container_id="first")
    host.add(wanted, second, container_id="second")
    for address in ("10.42.0.1", "10.42.0.3", "fd42::1", "fd42::3"):
        assert first.pings(address), address
    assert host.namespace.pings("10.42.0.3")


@pytest.mark.parametrize("masquerade", [True, False])
def test_the_outside_answers_only_to_masqueraded(host, container, outside, network, masquerade: bool) -> None:
    wanted = dual(host, network, ipMasq=masquerade)
    result = host.add(wanted, container)
    assert container.pings("192.0.2.2") == masquerade
    host.delete({**wanted, "prevResult": result}, container)
    nothing_left(host, container, network, "up0")


def test_isolated_ports_reach_only_the_gateway(host, make_namespace, network) -> None:
    wanted, first, second = dual(host, network, portIsolation=True), make_namespace(), make_namespace()
    host.add(wanted, first, container_id="first")
    host.add(wanted, second, container_id="second")
    assert first.pings("10.42.0.1")
    assert not first.pings("10.42.0.3")


def test_a_forged_mac_address_is_silent(host, container, network) -> None:
    wanted = dual(host, network, macspoofchk=True)
    host.add(wanted, container)
    assert container.pings("10.42.0.1")
    true = container.link("eth0")["address"]
    container.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:66")
    assert not container.pings("10.42.0.1")
    container.run("ip", "link", "set", "eth0", "address", true)
    assert container.pings("10.42.0.1")
    host.delete(wanted, container)
    nothing_left(host, container, network)


DRIFTS = json.loads((CASES / "drifts.json").read_text())


@pytest.mark.parametrize("case", DRIFTS, ids=lambda case: case["finding"])
def test_check_finds(host, container, network, case: dict) -> None:
    wanted = dual(host, network, ipMasq=True, macspoofchk=True, hairpinMode=True)
    result = host.add(wanted, container)
    assert host.check(wanted, container, result).code == 0
    port = result["interfaces"][1]["name"]
    words = case["break"].replace("ip -n {}", f"nsenter -n -t {container.pid} ip")
    host.namespace.run(*words.replace("PORT", port).replace("STATE", str(host.state)).split())
    outcome = host.check(wanted, container, result)
    assert outcome.code == 1
    said = outcome.result["msg"] + outcome.result.get("details", "")
    assert case["finding"].replace("PORT", port) in said


def test_check_needs_a_previous_result(host, container, network) -> None:
    outcome = host.call("CHECK", config(host, network), netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"]) == (7, "required prevResult missing")


def test_check_works_without_ipam(host, container, network) -> None:
    wanted = config(host, network)
    del wanted["ipam"]
    assert host.check(wanted, container, host.add(wanted, container)).code == 0


def test_delete_what_never_was(host, container, network) -> None:
    host.delete(dual(host, network, ipMasq=True, macspoofchk=True), container)
    assert host.namespace.links() == {"lo"}


@pytest.mark.parametrize("previous", [True, False])
def test_delete_after_the_container_is_gone(host, make_namespace, network, previous: bool) -> None:
    """The reference leaves masquerade and spoof rules behind here."""
    wanted, container = dual(host, network, ipMasq=True, macspoofchk=True), make_namespace()
    result = host.add(wanted, container)
    container.end()
    wait_for(lambda: len(host.namespace.links()) == 2)
    host.delete({**wanted, **({"prevResult": result} if previous else {})}, container)
    nothing_left(host, None, network)


def wait_for(condition: Callable[[], bool]) -> None:
    """Ended namespaces are taken apart a moment later, by the kernel."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_delete_without_a_namespace_finds_the_host_end(host, container, network) -> None:
    """Its address will be given to somebody else, so the interface must not go on answering for it."""
    wanted = dual(host, network, ipMasq=True)
    host.add(wanted, container)
    host.delete(wanted, None)
    nothing_left(host, container, network)


def test_delete_leaves_other_attachments_alone(host, make_namespace, network) -> None:
    wanted, first, second = dual(host, network, ipMasq=True, macspoofchk=True), make_namespace(), make_namespace()
    host.add(wanted, first, container_id="first")
    host.add(wanted, first, container_id="first", ifname="net1")
    result = host.add(wanted, second, container_id="second")
    host.delete(wanted, first, container_id="first")
    host.delete(wanted, first, container_id="first", ifname="net1")
    assert host.check(wanted, second, result, container_id="second").code == 0
    assert second.pings("10.42.0.1")


def test_delete_goes_on_when_ipam_fails(host, container, network) -> None:
    wanted = dual(host, network, ipMasq=True, macspoofchk=True)
    host.add(wanted, container)
    outcome = host.call("DEL", {**wanted, "ipam": {"type": "no-such-ipam"}}, netns=container.path)
    assert outcome.code == 1
    assert "no-such-ipam" in outcome.result["msg"]
    assert container.links() == {"lo"}
    assert "comment" not in host.namespace.nft()


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
def test_delete_what_the_reference_added(host, container, network) -> None:
    wanted = {**dual(host, network, ipMasq=True, macspoofchk=True), "cniVersion": "1.0.0"}
    result = host.add(wanted, container, path=str(REFERENCE.parent))
    assert "CNI-" in host.namespace.nft()
    host.delete({**wanted, "prevResult": result}, container)
    nothing_left(host, container, network)
    rules = host.namespace.nft()
    assert "CNI-" not in rules
    assert "cni-br-iface" not in rules


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
def test_the_reference_deletes_what_we_added(host, container, network) -> None:
    wanted = {**dual(host, network), "cniVersion": "1.0.0"}
    result = host.add(wanted, container)
    host.delete({**wanted, "prevResult": result}, container, path=str(REFERENCE.parent))
    nothing_left(host, container, network)


def test_gc_keeps_what_is_valid(host, make_namespace, network) -> None:
    wanted = dual(host, network, ipMasq=True, macspoofchk=True)
    other = config(host, f"{network}-other", bridge="cni1", ipMasq=True, macspoofchk=True)
    other["ipam"]["ranges"] = [[{"subnet": "10.43.0.0/24"}]]
    containers = {name: make_namespace() for name in ("kept", "stale", "other")}
    results = {name: host.add(wanted, containers[name], container_id=name) for name in ("kept", "stale")}
    results["other"] = host.add(other, containers["other"], container_id="other")
    valid = [{"containerID": "kept", "ifname": "eth0"}]
    assert host.call("GC", {**wanted, "cni.dev/valid-attachments": valid}).code == 0
    assert containers["stale"].links() == {"lo"}
    assert set(host.leases(network)) == {"10.42.0.2", "fd42::2"}
    for name, conf in (("kept", wanted), ("other", other)):
        assert host.check(conf, containers[name], results[name], container_id=name).code == 0
    assert host.call("GC", {**wanted, "cni.dev/valid-attachments": []}).code == 0
    assert host.leases(network) == {}
    assert host.check(other, containers["other"], results["other"], container_id="other").code == 0


def test_status(host, network) -> None:
    wanted = dual(host, network, ipMasq=True)
    assert host.call("STATUS", wanted).code == 0
    outcome = host.call("STATUS", {**wanted, "bridge": "lo"})
    assert (outcome.result["code"], outcome.result["msg"]) == (50, '"lo" already exists but is not a bridge')
    assert host.namespace.links() == {"lo"}


IPAM = """#!/bin/sh
echo $CNI_COMMAND >> {log}
cat > /dev/null
case $CNI_COMMAND in
ADD) echo '{{"cniVersion": "1.0.0", "ips": []}}' ;;
STATUS) echo '{{"cniVersion": "1.1.0", "code": 51, "msg": "the pool is empty"}}'; exit 1 ;;
esac
"""


@pytest.fixture
def ipam(host, tmp_path: Path) -> Path:
    """An IPAM plugin `fake` that gives no address and is not well; the file logs what it was asked."""
    log, folder = tmp_path / "asked", tmp_path / "ipam"
    folder.mkdir()
    (folder / "fake").write_text(IPAM.format(log=log))
    (folder / "fake").chmod(0o755)
    host.path = f"{host.path}:{folder}"
    return log


def test_status_is_also_that_of_ipam(host, network, ipam: Path) -> None:
    outcome = host.call("STATUS", config(host, network) | {"ipam": {"type": "fake"}})
    assert (outcome.result["code"], outcome.result["msg"]) == (51, "the pool is empty")


def test_ipam_that_gives_nothing_is_told_to_release(host, container, network, ipam: Path) -> None:
    outcome = host.call("ADD", config(host, network) | {"ipam": {"type": "fake"}}, netns=container.path)
    assert outcome.result["msg"] == "IPAM plugin returned missing IP config"
    assert ipam.read_text().split() == ["ADD", "DEL"]
    nothing_left(host, container, network)


def test_a_second_add_leaves_the_first_alone(host, container, network) -> None:
    wanted = dual(host, network, ipMasq=True, macspoofchk=True)
    result = host.add(wanted, container)
    outcome = host.call("ADD", wanted, netns=container.path)
    assert outcome.code == 1
    assert outcome.result["msg"] == "the container has an interface `eth0` already"
    assert host.check(wanted, container, result).code == 0
    assert len(host.namespace.links()) == 3


def test_an_address_of_somebody_else_on_the_bridge(host, container, network) -> None:
    wanted = dual(host, network)
    host.namespace.run("ip", "link", "add", "cni0", "type", "bridge")
    for address in ("10.9.9.1/24", "fd42::99/64", "fd99::1/64"):
        host.namespace.run("ip", "address", "add", address, "dev", "cni0", "nodad")
    outcome = host.call("ADD", wanted, netns=container.path)
    expected = '"cni0" already has an IP address different from 10.42.0.1/24, fd42::1/64: 10.9.9.1/24, fd42::99/64'
    assert outcome.result["msg"] == expected
    nothing_left(host, container, network)
    host.add({**wanted, "forceAddress": True}, container)
    assert host.namespace.addresses("cni0") == {"10.42.0.1/24", "fd42::1/64", "fd99::1/64"}


def test_the_gateway_keeps_its_mac_address(host, make_namespace, network) -> None:
    wanted = dual(host, network)
    seen = set()
    for number in range(4):
        result = host.add(wanted, make_namespace(), container_id=f"c{number}")
        seen.add(result["interfaces"][0]["mac"])
    assert len(seen) == 1


def test_many_at_once(host, make_namespace, network) -> None:
    wanted = dual(host, network, ipMasq=True)
    containers = {f"c{number}": make_namespace() for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda one: host.add(wanted, one[1], container_id=one[0]), containers.items()))
        assert len({ip["address"] for result in added for ip in result["ips"]}) == 16
        list(pool.map(lambda one: host.delete(wanted, one[1], container_id=one[0]), containers.items()))
    nothing_left(host, containers["c0"], network)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["error=ENOBUFS", "signal=KILL"])
def test_a_fault_at_each_message_to_the_kernel_leaves_nothing(host, make_namespace, network, fault: str) -> None:
    wanted, looked = dual(host, network, ipMasq=True, macspoofchk=True, hairpinMode=True), 0
    for container in host.faults(wanted, fault, make_namespace, 60):
        nothing_left(host, container, network)
        looked += 1
    assert looked >= 10


def needs_vlan_filtering(host) -> None:
    if not host.namespace.succeeds("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"):
        pytest.skip("this kernel has no VLAN filtering in bridges")
    host.namespace.run("ip", "link", "del", "probe")


def test_a_kernel_without_vlans_says_so(host, container, network) -> None:
    if host.namespace.succeeds("ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"):
        pytest.skip("this kernel has VLAN filtering in bridges")
    outcome = host.call("ADD", dual(host, network, vlan=100), netns=container.path)
    assert outcome.result["msg"].startswith("cannot make bridge interface `cni0`: Operation not supported")
    nothing_left(host, container, network)
    host.namespace.run("ip", "link", "add", "cni0", "type", "bridge")
    outcome = host.call("ADD", dual(host, network, vlan=100), netns=container.path)
    assert re.match(r"cannot (add VLANs to|delete VLAN 1 of) bridge port `veth", outcome.result["msg"])
    nothing_left(host, container, network)


def port_vlans(host, port: str) -> dict[int, list[str]]:
    (shown,) = json.loads(host.namespace.run("bridge", "-j", "vlan", "show", "dev", port))
    return {one["vlan"]: one.get("flags", []) for one in shown["vlans"]}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"vlan": 100}, {100: ["PVID", "Egress Untagged"]}),
        ({"vlanTrunk": [{"id": 101}, {"minID": 200, "maxID": 202}]}, {101: [], 200: [], 201: [], 202: []}),
        (
            {"vlan": 100, "vlanTrunk": [{"minID": 99, "maxID": 101}]},
            {99: [], 100: ["PVID", "Egress Untagged"], 101: []},
        ),
        ({"vlanTrunk": [{"id": 7}], "preserveDefaultVlan": True}, {1: ["PVID", "Egress Untagged"], 7: []}),
    ],
)
def test_vlans_of_the_port(host, container, network, keys: dict, expected: dict) -> None:
    needs_vlan_filtering(host)
    wanted = config(host, network, **keys)
    result = host.add(wanted, container)
    assert port_vlans(host, result["interfaces"][1]["name"]) == expected
    assert host.check(wanted, container, result).code == 0
    host.delete(wanted, container)
    nothing_left(host, container, network)


def test_containers_in_two_vlans_do_not_meet(host, make_namespace, network) -> None:
    needs_vlan_filtering(host)
    red, blue = dual(host, network, vlan=100), dual(host, f"{network}-blue", vlan=200)
    blue["ipam"]["ranges"] = [[{"subnet": "10.43.0.0/24"}]]
    first, second, third = make_namespace(), make_namespace(), make_namespace()
    result = host.add(red, first, container_id="first")
    host.add(red, second, container_id="second")
    host.add(blue, third, container_id="third")
    assert [one["name"] for one in result["interfaces"]][3] == "cni0.100"
    assert host.namespace.addresses("cni0.100") == {"10.42.0.1/24", "fd42::1/64"}
    assert first.pings("10.42.0.1")
    assert first.pings("10.42.0.3")
    third.run("ip", "address", "add", "10.42.0.9/24", "dev", "eth0")
    assert not first.pings("10.42.0.9")


def test_a_late_and_repeated_delete_leaves_the_next_owner_of_the_address_alone(host, make_namespace, network) -> None:
    wanted, first, second = dual(host, network, ipMasq=True, macspoofchk=True), make_namespace(), make_namespace()
    late = {**wanted, "prevResult": host.add(wanted, first, container_id="first")}
    host.delete(late, first, container_id="first")
    for file in (host.state / network).glob("last_reserved_ip.*"):
        file.unlink()
    result = host.add(wanted, second, container_id="second")
    assert result["ips"] == late["prevResult"]["ips"], "the same addresses"
    before = host.namespace.nft()
    for config in (late, late, wanted):
        host.delete(config, first, container_id="first")
        host.delete(config, None, container_id="first")
    assert host.namespace.nft() == before
    assert host.check(wanted, second, result, container_id="second").code == 0
    assert second.pings("10.42.0.1")


RECORDS = "/run/cni-provision/attachments"


def test_delete_knows_from_the_record_what_the_configuration_does_not_say(host, container, network) -> None:
    """Neither `prevResult` nor namespace, and the options were taken out since."""
    host.add(dual(host, network, ipMasq=True, macspoofchk=True), container)
    assert f"{network}" in host.namespace.run("sh", "-c", f"cat {RECORDS}/*.bridge")
    host.delete(dual(host, network), None)
    nothing_left(host, container, network)
    assert host.namespace.run("ls", RECORDS).split() == ["lock"]


@pytest.mark.parametrize("content", ["", "{", '{"format": 1}', "[]"])
def test_a_broken_record_is_no_obstacle(host, container, network, content: str) -> None:
    wanted = dual(host, network, ipMasq=True)
    host.add(wanted, container)
    host.namespace.run("sh", "-c", f"for file in {RECORDS}/*.bridge; do printf %s '{content}' > $file; done")
    host.delete(wanted, None)
    nothing_left(host, container, network)


def test_gc_forgets_records(host, container, network) -> None:
    wanted = dual(host, network, ipMasq=True)
    host.add(wanted, container)
    assert host.call("GC", {**wanted, "cni.dev/valid-attachments": []}).code == 0
    nothing_left(host, container, network)
    assert host.namespace.run("ls", RECORDS).split() == ["lock"]
