"""The reference's own plugins, driven through every verb, on a host and with a container that are namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLUGINS = "/usr/lib/cni"
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists(f"{PLUGINS}/bridge"), reason="containernetworking-plugins not installed"),
]

DRIVER = """
import json, sys
from cni_provision.cni import config
from cni_provision.cni.runtime import Attachment, Runtime
from cni_provision.cni.results import encode_result
from cni_provision.cni.types import CNIError

asked = json.load(sys.stdin)
runtime = Runtime([asked["path"]], asked["cache"], timeout=60)
network = config.load(json.dumps(asked["network"]).encode())
attachment = Attachment("c1", asked["netns"], "eth0", (("IgnoreUnknown", "1"),), asked["capabilities"])
verbs = {
    "add": lambda: encode_result(runtime.add(network, attachment)),
    "check": lambda: runtime.check(network, attachment),
    "delete": lambda: runtime.delete(network, attachment),
    "status": lambda: runtime.status(network),
    "validate": lambda: runtime.validate(network),
    "gc": lambda: runtime.gc(network, ()),
    "cached": lambda: [one.attachment.container_id for one in runtime.attachments()],
}
answers = []
for verb in asked["verbs"]:
    try:
        answers.append(verbs[verb]())
    except CNIError as error:
        answers.append({"code": error.code, "msg": error.msg})
print(json.dumps(answers))
"""
PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "10.99.0.1"}]}


def bridge(version: str, leases: Path) -> dict[str, Any]:
    ipam = {"type": "host-local", "dataDir": str(leases), "ranges": [[{"subnet": "10.99.0.0/24"}]]}
    first = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": ipam}
    second = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": version, "name": "n", "plugins": [first, second]}


def drive(
    host: list[str], netns: str, cache: Path, network: dict[str, Any], *verbs: str, capabilities: Any = PORTS
) -> list[Any]:
    asked = {
        "path": PLUGINS,
        "cache": str(cache),
        "network": network,
        "netns": netns,
        "capabilities": capabilities,
        "verbs": verbs,
    }
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [*host, sys.executable, "-c", DRIVER],
        input=json.dumps(asked).encode(),
        capture_output=True,
        cwd=root,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_chain(case: dict[str, Any], version: str, host_netns: list[str], netns: str, tmp_path: Path) -> None:
    """Every verb of the version on one chain of plugins; a second DEL, and ADD after DEL, work too.

    `check` and `twice` are what the reference's CHECK and second DEL complain about, though they should not.
    """
    require_link_type(case.get("needs", ""))
    for command in case.get("host", []):
        subprocess.run([*host_netns, *command.split()], check=True)
    for plugin in case["plugins"]:
        if plugin.get("ipam", {}).get("type") == "host-local":
            plugin["ipam"]["dataDir"] = str(tmp_path / "leases")
    network = {"cniVersion": version, "name": "n", "plugins": case["plugins"]}
    capabilities = case.get("capabilities", {})
    verbs = ["validate", "add", "cached", "check", "status", "delete", "delete", "cached"]
    verbs += ["add", "gc", "cached"] if case.get("again", True) else []
    answers = drive(host_netns, netns, tmp_path / "cache", network, *verbs, capabilities=capabilities)
    assert answers[0] == sorted(capabilities)
    added, checked, twice = answers[1], answers.pop(3), answers.pop(5)
    assert [ip["address"] for ip in added.get("ips", [])] == case["ips"], added
    inside = next(one for one in added["interfaces"] if one.get("sandbox"))
    assert inside["name"] == "eth0"
    assert inside["mac"] == case.get("mac", inside["mac"])
    for complaint, answer in ((case.get("check"), checked), (case.get("twice"), twice)):
        assert (complaint in answer["msg"]) if complaint else (answer is None), answer
    assert [answer for answer in answers if isinstance(answer, dict) and "code" in answer] == []
    assert [answers[2], answers[5], answers[-1]] == [["c1"], [], []]


def require_link_type(kind: str) -> None:
    """Skip where this kernel has no such links."""
    if kind:
        options = {"vlan": "id 5", "vrf": "table 5"}.get(kind, "")
        script = f"ip link add v0 type veth peer name v1; ip link add link v0 x0 type {kind} {options}"
        made = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no links of type {kind}: {made.stderr.strip()}")


@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0", "1.0.0"])
def test_bridge_with_host_local_and_portmap(version: str, host_netns: list[str], netns: str, tmp_path: Path) -> None:
    network = bridge(version, tmp_path / "leases")
    verbs = ["validate", "status", "add", "cached", "delete", "delete", "cached", "add", "gc", "cached"]
    answers = dict(enumerate(drive(host_netns, netns, tmp_path / "cache", network, *verbs)))
    assert answers[0] == ["portMappings"]
    added = answers[2]
    assert added["cniVersion"] == version
    address = added["ip4"]["ip"] if version == "0.2.0" else added["ips"][0]["address"]
    assert address == "10.99.0.2/24"
    assert [answers[number] for number, verb in enumerate(verbs) if verb == "cached"] == [["c1"], [], []]
    failed = [answer for answer in answers.values() if isinstance(answer, dict) and "code" in answer]
    assert failed == []
    assert [name for name in os.listdir(tmp_path / "leases" / "n") if name[0].isdigit()] == []


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_check_notices_what_is_gone(version: str, host_netns: list[str], netns: str, tmp_path: Path) -> None:
    network = bridge(version, tmp_path / "leases")
    del network["plugins"][1]  # the reference's portmap wants an IPv6 chain even where there is no IPv6
    assert drive(host_netns, netns, tmp_path / "cache", network, "add", "check")[1] is None
    subprocess.run(["nsenter", f"--net={netns}", "ip", "link", "delete", "eth0"], check=True)
    (failed, deleted) = drive(host_netns, netns, tmp_path / "cache", network, "check", "delete")
    assert failed["msg"].startswith('plugin type="bridge" name="n" failed (check): ')
    assert deleted is None


def test_loopback(host_netns: list[str], netns: str, tmp_path: Path) -> None:
    network = {"cniVersion": "1.0.0", "name": "lo", "plugins": [{"type": "loopback"}]}
    added, deleted = drive(host_netns, netns, tmp_path, network, "add", "delete")
    assert added["interfaces"][0]["name"] == "lo"
    assert deleted is None


def test_a_version_that_the_plugins_lack(host_netns: list[str], netns: str, tmp_path: Path) -> None:
    network = bridge("1.1.0", tmp_path / "leases")
    validated, added = drive(host_netns, netns, tmp_path, network, "validate", "add")
    if isinstance(validated, list):
        pytest.skip("the installed plugins speak 1.1.0")
    assert validated["code"] == added["code"] == 1
