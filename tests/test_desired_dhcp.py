"""The daemon of the dhcp plugin among a node's units."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cni_provision import desired_dhcp
from cni_provision.artifact import Artifact
from cni_provision.desired import desired, request
from cni_provision.desired_service import Service, leases
from cni_provision.inventory.model import Connection, Declarations, Network, Node
from cni_provision.node.validate import checked
from cni_provision.plan import File, Live, plan
from cni_provision.render import Conflist

PODS = Conflist("pods", "50-pods.conflist", "{}", ("bridge", "host-local"), "1.1.0", Network("pods"))
LAN = Conflist("lan", "60-lan.conflist", "{}", ("macvlan", "dhcp"), "1.1.0", Network("lan"))


@pytest.mark.parametrize(("conflists", "plugins"), [((PODS,), {"dhcp"}), ((LAN,), {"macvlan"}), ((), {"dhcp"})])
def test_who_needs_no_leases_gets_no_daemon(conflists: tuple, plugins: set[str]) -> None:
    assert leases(conflists, plugins, "/opt/cni/bin") == Service()


def test_a_socket_that_begins_the_daemon() -> None:
    found = leases((PODS, LAN), {"macvlan", "dhcp"}, "/usr/lib/cni")
    assert found.states["unit:cni-dhcp.socket"] == Live("unit", "cni-dhcp.socket", "enabled active")
    for name in (desired_dhcp.SERVICE, desired_dhcp.SOCKET):
        file = found.states[f"file:/etc/systemd/system/{name}"]
        assert isinstance(file, File)
        assert file.digest in found.texts
    assert (
        "ExecStart=/usr/lib/cni/dhcp daemon"
        in found.texts[found.states["file:/etc/systemd/system/cni-dhcp.service"].digest]
    )
    assert [each.argv[1] for each in found.reloads] == ["daemon-reload", "try-restart"]
    assert "/usr/lib/cni/dhcp" in found.reloads[1].paths


def test_a_node_has_it_among_its_units_and_takes_it() -> None:
    plugins = [Artifact(name, letter * 64, 3, "ours", "amd64") for name, letter in (("dhcp", "d"), ("macvlan", "a"))]
    goal = desired(Node("node-1", (), Connection(), Declarations()), (PODS, LAN), plugins)
    assert "unit:cni-dhcp.socket" in goal.states
    assert [each.name for each in goal.reloads] == ["systemd-dhcp", "dhcp-daemon"]
    asked = request(goal, "plan")
    assert checked(asked).reloads == asked.reloads
    kinds = [change.kind for change in plan({**goal.states, **goal.variants["amd64"]}, {}, {})]
    assert kinds[-1] == "unit", "when all that it needs is there"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    names = []
    for path, text in desired_dhcp.texts("/opt/cni/bin").items():
        names.append(str(tmp_path / Path(path).name))
        Path(names[-1]).write_text(text.replace("/opt/cni/bin/dhcp", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True)
    assert "Unknown" not in done.stderr + done.stdout, done.stderr
