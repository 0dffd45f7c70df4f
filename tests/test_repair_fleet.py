"""`verify --repair` over a fleet: what somebody flushed on one node is made again there, for containers that live."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_provision import lab
from tests.lab_fixture import on

ROOT = Path(__file__).parent.parent
PROGRAM = str(Path(sys.executable).with_name("cni-provision"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]
# a container as a runtime makes one: the installed list's plugins, each with the result of the one before
RUNTIME = """
import json, os, subprocess, sys
command, (path,) = sys.argv[1], [each for each in os.listdir("/etc/cni/net.d") if "pods" in each]
network = json.load(open(f"/etc/cni/net.d/{path}"))
mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
kept = "/run/result.json"
result = json.load(open(kept)) if command != "ADD" else None
for plugin in network["plugins"]:
    config = {"cniVersion": network["cniVersion"], "name": network["name"], **plugin}
    if plugin["type"] == "portmap":
        config["runtimeConfig"] = {"portMappings": [mapping]}
    if result:
        config["prevResult"] = result
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, "CNI_CONTAINERID": "c1",
                   "CNI_NETNS": "/run/netns/c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
    done = subprocess.run(["/opt/cni/bin/" + plugin["type"]], input=json.dumps(config), env=environment,
                          text=True, stdout=subprocess.PIPE)
    if done.returncode:
        print(done.stdout)
        break
    result = json.loads(done.stdout) if done.stdout else result
json.dump(result, open(kept, "w"))
"""

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def there() -> Iterator[lab.Lab]:
    name = f"repair-{os.getpid()}"
    yield lab.up(2, name)
    lab.down(name)


@pytest.fixture(scope="module")
def program(there: lab.Lab, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`cni-provision` beside the example's inventory with the lab's nodes."""
    folder = tmp_path_factory.mktemp("repair")
    shutil.copytree(ROOT / "docs/example", folder / "inventory")
    (folder / "inventory/hosts.yaml").write_text(lab.inventory(there))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False)

    return run


def called(there: lab.Lab, node: str, command: str) -> str:
    """What the plugins say against it; nothing where they do not."""
    return on(there, node, "python3", "-c", RUNTIME, command).strip()


def rebuilt(output: str) -> dict[str, list[str]]:
    """The sentences of what was made again, by node."""
    events = [json.loads(line) for line in output.splitlines()]
    found: dict[str, list[str]] = {}
    for event in events:
        if "which are back" in event.get("message", ""):
            found.setdefault(event["node"], []).append(event["message"])
    return found


def test_what_one_node_lost_comes_back_there(program: Run, there: lab.Lab) -> None:
    assert program("apply", "--yes").returncode == 0
    for node in ("node-1", "node-2"):
        on(there, node, "ip", "netns", "add", "c1")
        assert called(there, node, "ADD") == ""
    before = on(there, "node-2", "nft", "list", "ruleset")
    on(there, "node-1", "nft", "flush", "ruleset")
    assert "has no entry of this attachment" in called(there, "node-1", "CHECK")

    done = program("verify", "--repair", "--no-probe", "--json")
    found = rebuilt(done.stdout)
    assert set(found) == {"node-1"}, done.stdout + done.stderr
    assert {sentence.split("`")[1] for sentence in found["node-1"]} == {"cni_masquerade", "cni_portmap"}
    assert called(there, "node-1", "CHECK") == ""
    assert on(there, "node-2", "nft", "list", "ruleset") == before
    assert rebuilt(program("verify", "--repair", "--no-probe", "--json").stdout) == {}
    for node in ("node-1", "node-2"):
        assert called(there, node, "DEL") == ""
        assert "elements" not in on(there, node, "nft", "list", "ruleset")
