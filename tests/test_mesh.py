"""The whole path with its proof: apply, probe, mesh, and what happens when the proof fails."""

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
from cni_provision.mesh import Present, targets
from cni_provision.node.mesh import Presence
from tests.lab_fixture import on

ROOT = Path(__file__).parent.parent
PROGRAM = str(Path(sys.executable).with_name("cni-provision"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]
NARROW = {"name": "narrow", "template": "bridge", "parameters": {"bridge": "cni5", "subnet": "10.99.0.0/24"}}
EXHAUSTED = {**NARROW["parameters"], "range_start": "10.99.0.9", "range_end": "10.99.0.9"}  # type: ignore[dict-item]


def present(node: str, *presences: Presence, routed: frozenset[str] = frozenset()) -> Present:
    return Present(node, f"192.0.2.{node[-1]}", presences, routed)


def test_targets_are_the_node_its_ports_and_its_routed_containers() -> None:
    first = present("n1", Presence("pods", "10.1.0.2", 4001), Presence("fabric", "10.2.0.2", None))
    second = present("n2", Presence("pods", "10.1.1.2", 4002), Presence("fabric", "10.2.1.2", None))
    routing = present("n2", *second.presences, routed=frozenset({"fabric"}))
    wanted = {(each.network, each.kind, each.address, each.port) for each in targets(first, [routing])}
    assert wanted == {
        ("pods", "node", "192.0.2.2", 0),
        ("pods", "port", "192.0.2.2", 4002),
        ("fabric", "node", "192.0.2.2", 0),
        ("fabric", "container", "10.2.1.2", 7780),
    }


def test_containers_of_one_node_reach_each_other_without_routes() -> None:
    only = present("n1", Presence("pods", "10.1.0.2", None))
    assert {each.kind for each in targets(only, [only])} == {"node", "container"}


def test_a_network_that_is_not_on_both_nodes_is_left_out() -> None:
    assert list(targets(present("n1"), [present("n2", Presence("pods", "10.1.1.2", 1))])) == []


@pytest.fixture(scope="module")
def there() -> Iterator[lab.Lab]:
    name = f"mesh-{os.getpid()}"
    yield lab.up(2, name)
    lab.down(name)


@pytest.fixture(scope="module")
def program(there: lab.Lab, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`cni-provision` beside the example's inventory with the lab's nodes."""
    folder = tmp_path_factory.mktemp("mesh")
    shutil.copytree(ROOT / "docs/example", folder / "inventory")
    (folder / "inventory/hosts.yaml").write_text(lab.inventory(there))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False)

    return run


def cells(output: str) -> dict[tuple[str, str, str, str], str]:
    events = [json.loads(line) for line in output.splitlines()]
    return {
        (event["network"], event["target"], event["node"], event["peer"]): event["outcome"]
        for event in events
        if event["event"] == "mesh_result"
    }


@pytest.mark.lab
def test_the_probe_proves_an_apply(program: Run, there: lab.Lab) -> None:
    done = program("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 nodes changed" in done.stdout
    assert on(there, "node-1", "sh", "-c", "ls /run/cni-provision/probe/results").split() == []
    assert "veth" not in on(there, "node-1", "ip", "-brief", "link")


@pytest.mark.lab
def test_the_mesh_tells_which_way_is_missing(program: Run) -> None:
    done = program("verify", "--mesh", "--json")
    found = cells(done.stdout)
    assert done.returncode == 2
    assert found["fabric", "container", "node-1", "node-2"] == "fail"
    assert {found["pods", "port", *pair] for pair in (("node-1", "node-2"), ("node-1", "node-1"))} == {"pass"}


@pytest.mark.lab
def test_the_mesh_passes_once_the_fabric_routes(program: Run, there: lab.Lab) -> None:
    for node, other in (("node-1", 2), ("node-2", 1)):
        on(there, node, "ip", "route", "replace", f"10.60.{other - 1}.0/24", "via", f"10.200.1.{other}")
    done = program("verify", "--mesh", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(cells(done.stdout).values()) == {"pass"}


@pytest.mark.lab
def test_a_failed_probe_returns_the_node_to_what_it_had(program: Run, there: lab.Lab) -> None:
    before = on(there, "node-1", "sh", "-c", "cat /etc/cni/net.d/*")
    broken = json.dumps({"cni_networks__narrow": [{**NARROW, "parameters": EXHAUSTED}]})
    done = program("apply", "--yes", "-e", broken)
    assert done.returncode == 3
    assert "attach narrow" in done.stdout
    assert on(there, "node-1", "sh", "-c", "cat /etc/cni/net.d/*") == before
    assert program("diff").returncode == 0


@pytest.mark.lab
def test_a_rollback_is_proved_as_well(program: Run) -> None:
    smaller = json.dumps({"cni_networks__mtu": [{"name": "pods", "parameters": {"mtu": 1400}}]})
    assert program("apply", "--yes", "-e", smaller).returncode == 0
    done = program("rollback", "--yes", "--json")
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    proved = {event["network"] for event in checks if event["event"] == "check_result" and event.get("network")}
    assert (done.returncode, proved) == (0, {"pods", "fabric", "lo"})
    assert program("diff").returncode == 0
