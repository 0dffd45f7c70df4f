"""Templates whose plugins are not ours: rendered, attached with the reference plugins, and used.

`tests/cases/attached/<case>.yaml` is an inventory of one node; the host's interface is `up0`, and 198.51.100.2
is a machine outside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cni_provision.inventory.load import Sources, load
from cni_provision.net import link
from cni_provision.net.rtnl import Socket
from cni_provision.render import Conflist, render

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "cases" / "attached"
REFERENCE = Path("/usr/lib/cni")
DRIVER = """
import json, sys
from cni_provision.cni import config
from cni_provision.cni.results import encode_result
from cni_provision.cni.runtime import Attachment, Runtime

path, cache, conflist, verb, *attachments = json.load(sys.stdin)
runtime, network = Runtime([path], cache, timeout=60), config.load_conflist(conflist.encode())
answers = [getattr(runtime, verb)(network, Attachment(*one)) for one in attachments]
print(json.dumps([one and encode_result(one) for one in answers]))
"""
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed"),
]


def rendered(case: str, state: Path) -> Conflist:
    inventory = state / "hosts.yaml"
    inventory.write_text((CASES / f"{case}.yaml").read_text().replace("@STATE", str(state)))
    (conflist,) = render(load(Sources((str(inventory),), ()), None).nodes[0])
    return conflist


def drive(host, conflist: Conflist, state: Path, verb: str, containers: dict) -> list:
    """What the runtime library answers for each container, with the host's namespace around it."""
    attachments = [(name, one.path, "eth0") for name, one in containers.items()]
    asked = json.dumps([str(REFERENCE), str(state / "cache"), conflist.text, verb, *attachments])
    argv = host.namespace.enter("env", f"--chdir={ROOT}", sys.executable, "-c", DRIVER)
    done = subprocess.run(argv, input=asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def outside(host, make_namespace):
    there = make_namespace()
    host.namespace.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", str(there.pid))
    host.namespace.run("ip", "link", "set", "up0", "up")
    there.run("ip", "address", "add", "198.51.100.2/24", "dev", "up0")
    there.run("ip", "link", "set", "up0", "up")
    return there


@pytest.mark.parametrize("case", [file.stem for file in sorted(CASES.glob("*.yaml"))])
def test_containers_reach_each_other_and_the_outside(host, outside, make_namespace, tmp_path, case: str) -> None:
    conflist = rendered(case, tmp_path)
    with Socket() as socket:
        if not link.supported(socket, conflist.types[0]):
            pytest.skip(f"this kernel has no {conflist.types[0]} interfaces")
    containers = {name: make_namespace() for name in ("first", "second")}
    results = drive(host, conflist, tmp_path, "add", containers)
    first, second = (one["ips"][0]["address"].split("/")[0] for one in results)
    for source, target in (("first", second), ("second", first)):
        assert containers[source].pings(target), f"{source} does not reach {target}"
    # in mode l3 nobody answers the neighbours' ARP: they would need a route
    assert containers["first"].pings("198.51.100.2") == (case != "ipvlan-l3")
    assert containers["first"].link("eth0")["linkinfo"]["info_kind"] == conflist.types[0]
    drive(host, conflist, tmp_path, "check", containers)
    drive(host, conflist, tmp_path, "delete", containers)
    assert [one.links() for one in containers.values()] == [{"lo"}, {"lo"}]
    assert list((tmp_path / "leases").rglob("198.*")) == []
