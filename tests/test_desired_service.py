"""The warm server among a node's files and units."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cni_provision import desired_recovery, desired_service
from cni_provision.artifact import Artifact
from cni_provision.desired import desired
from cni_provision.inventory.model import Connection, Declarations, Kernel, Node, Runtime
from cni_provision.node.validate import checked
from cni_provision.plan import File, Live, order, plan

BRIDGE = Artifact("bridge", "b" * 64, 3, "ours", "amd64")
SERVERS = [Artifact("server", letter * 64, 3, "ours", arch) for letter, arch in (("1", "amd64"), ("2", "arm64"))]
TEXTS = {**desired_service.TEXTS, **desired_recovery.TEXTS}
UNITS = ("cni-provision-server.service", "cni-provision-server.socket")
ANOTHER_NAMESPACE = (
    "Private", "Protect", "ReadOnly", "ReadWrite", "Inaccessible", "TemporaryFileSystem", "BindPaths", "BindReadOnly",
    "RootDirectory", "RootImage", "MountAPIVFS", "NetworkNamespacePath", "JoinsNamespaceOf", "DynamicUser", "User=",
    "ExecPaths", "NoExecPaths", "MountFlags", "ProcSubset", "ExtensionImages", "RuntimeDirectory",
)  # fmt: skip


def node(**declared: object) -> Node:
    return Node("node-1", (), Connection(), Declarations(**declared))  # type: ignore[arg-type]


def test_a_node_gets_the_server_of_its_architecture_and_two_units() -> None:
    goal = desired(node(), (), [BRIDGE], SERVERS)
    path = desired_service.PATH
    assert goal.variants["amd64"][f"file:{path}"] == File(path, "1" * 64, 0o755, kind="service")
    assert goal.variants["arm64"][f"file:{path}"] == File(path, "2" * 64, 0o755, kind="service")
    for name in UNITS:
        file = goal.states[f"file:/etc/systemd/system/{name}"]
        assert isinstance(file, File)
        assert file.digest in goal.texts
        assert goal.states[f"unit:{name}"] == Live("unit", name, "enabled active")
    assert [each.argv[:2] for each in goal.reloads] == [("systemctl", "daemon-reload"), ("systemctl", "try-restart")]


def test_the_inventory_leaves_it_out() -> None:
    goal = desired(node(runtime=Runtime(server=False)), (), [BRIDGE], SERVERS)
    assert not goal.reloads
    assert not any("server" in key for key in [*goal.states, *goal.variants["amd64"]])
    assert not any("server" in key for key in desired(node(), (), [BRIDGE]).states)


def test_the_files_of_services_are_there_all_the_while_and_the_units_begin_last() -> None:
    goal = desired(node(), (), [BRIDGE], SERVERS)
    states = {**goal.states, **goal.variants["amd64"]}
    kinds = [change.kind for change in plan(states, {}, {})]
    assert kinds == ["directory", *["service"] * 3, "plugin", "unit", "unit"]
    leaving = order(change.inverse for change in plan(states, {}, {}))
    assert [change.kind for change in leaving] == ["unit", "unit", "plugin", *["service"] * 3, "directory"]


def test_recovery_is_files_alone_which_come_first_and_leave_last() -> None:
    everything = node(kernel=Kernel(sysctl={"net.ipv4.ip_forward": "1"}))
    goal = desired(everything, (), [BRIDGE], program="9" * 64)
    assert goal.states[f"file:{desired_recovery.PATH}"] == File(
        desired_recovery.PATH, "9" * 64, 0o755, kind="service"
    )
    assert [each.name for each in goal.reloads] == ["systemd"]
    assert set(goal.reloads[0].paths) >= set(desired_recovery.TEXTS)
    changes = plan({**goal.states, **goal.variants["amd64"]}, {}, {})
    kinds = ["directory", "service", "service", "service", "file", "plugin", "sysctl"]
    assert [change.kind for change in changes] == kinds
    assert [change.kind for change in order(change.inverse for change in changes)][-4:] == [*kinds[3:0:-1], kinds[0]]


def test_the_inventory_leaves_recovery_out() -> None:
    goal = desired(node(runtime=Runtime(recovery=False)), (), [BRIDGE], program="9" * 64)
    assert not goal.reloads
    assert f"file:{desired_recovery.PATH}" not in goal.states


def test_server_and_recovery_need_systemd_to_read_its_files_once() -> None:
    goal = desired(node(), (), [BRIDGE], SERVERS, "9" * 64)
    assert [each.name for each in goal.reloads] == ["systemd", "plugin-server"]


def test_nodes_accept_it() -> None:
    from cni_provision.desired import request

    asked = request(desired(node(), (), [BRIDGE], SERVERS), "plan")
    assert checked(asked).reloads == asked.reloads


def test_nothing_gives_the_server_another_namespace() -> None:
    """It would serve nobody: everybody else would be in another one."""
    options = re.findall(r"^(\w+=)", desired_service.SERVICE_TEXT, re.MULTILINE)
    assert options
    assert not [option for option in options if option.startswith(ANOTHER_NAMESPACE)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = {path: text for path, text in TEXTS.items() if not path.endswith(".conf")}
    for path, text in units.items():
        (tmp_path / Path(path).name).write_text(text.replace(desired_service.PATH, "/bin/true"))
    names = [str(tmp_path / Path(path).name) for path in units]
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True)
    assert "Unknown" not in done.stderr + done.stdout, done.stderr
