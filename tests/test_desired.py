"""A node's declarations as files and live values."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from cni_provision.artifact import Artifact
from cni_provision.desired import desired, request
from cni_provision.inventory.model import Connection, Declarations, Kernel, Network, Node, Runtime
from cni_provision.node.protocol import request_from_json, to_json
from cni_provision.plan import DIRECTORY, File, Live
from cni_provision.render import Conflist

KERNEL = Kernel(("br_netfilter",), {"net.ipv4.ip_forward": "1", "net.ipv4.ip_local_port_range": "1024\t 65000"})
CONFLIST = Conflist("pods", "10-pods.conflist", "{}\n", ("bridge",), "1.0.0", Network("pods"))
BRIDGE = Artifact("bridge", "b" * 64, 3, "ours")
VLAN = [Artifact("vlan", letter * 64, 3, "reference", arch) for letter, arch in (("a", "amd64"), ("f", "arm64"))]


def node(**declared: object) -> Node:
    return Node("node-1", (), Connection(), Declarations(**declared))  # type: ignore[arg-type]


def test_conflists_and_plugins_with_their_folders() -> None:
    goal = desired(node(), (CONFLIST,), [BRIDGE])
    digest = hashlib.sha256(b"{}\n").hexdigest()
    assert goal.states == {
        "file:/etc/cni/net.d": File("/etc/cni/net.d", DIRECTORY, 0o755, kind="directory"),
        "file:/opt/cni/bin": File("/opt/cni/bin", DIRECTORY, 0o755, kind="directory"),
        "file:/etc/cni/net.d/10-pods.conflist": File(
            "/etc/cni/net.d/10-pods.conflist", digest, 0o644, kind="conflist"
        ),
        "file:/opt/cni/bin/bridge": File("/opt/cni/bin/bridge", "b" * 64, 0o755, kind="plugin"),
    }
    assert goal.texts == {digest: "{}\n"}
    assert goal.conflists == (CONFLIST,)
    assert (goal.variants, goal.reloads, goal.secret) == ({}, (), ())


def test_the_runtime_says_where() -> None:
    there = Runtime(conf_dir="/srv/net.d", bin_dir="/srv/bin")
    goal = desired(node(runtime=there), (CONFLIST,), [BRIDGE])
    assert "file:/srv/net.d/10-pods.conflist" in goal.states
    assert "file:/srv/bin/bridge" in goal.states


def test_executables_of_one_architecture_are_variants() -> None:
    goal = desired(node(), (), [BRIDGE, *VLAN])
    assert "file:/opt/cni/bin/vlan" not in goal.states
    assert goal.variants == {
        "amd64": {"file:/opt/cni/bin/vlan": File("/opt/cni/bin/vlan", "a" * 64, 0o755, kind="plugin")},
        "arm64": {"file:/opt/cni/bin/vlan": File("/opt/cni/bin/vlan", "f" * 64, 0o755, kind="plugin")},
    }


def test_kernel_prerequisites_are_drop_ins_and_live_values() -> None:
    goal = desired(node(kernel=KERNEL, owner="team-a"), (), [])
    texts = {state.path: goal.texts[state.digest] for state in goal.states.values() if isinstance(state, File)}
    assert set(texts) == {"/etc/modules-load.d/team-a.conf", "/etc/sysctl.d/90-team-a.conf"}
    assert texts["/etc/modules-load.d/team-a.conf"].splitlines()[1:] == ["br_netfilter"]
    assert texts["/etc/sysctl.d/90-team-a.conf"].splitlines()[1:] == [
        "net.ipv4.ip_forward = 1",
        "net.ipv4.ip_local_port_range = 1024 65000",
    ]
    assert [state for state in goal.states.values() if isinstance(state, Live)] == [
        Live("module", "br_netfilter", "loaded"),
        Live("sysctl", "net.ipv4.ip_forward", "1"),
        Live("sysctl", "net.ipv4.ip_local_port_range", "1024 65000"),
    ]
    assert {"module:br_netfilter", "sysctl:net.ipv4.ip_forward"} <= set(goal.states)


def test_a_secret_conflist_is_for_root_alone() -> None:
    goal = desired(node(), (replace(CONFLIST, secret=True),), [])
    key = "file:/etc/cni/net.d/10-pods.conflist"
    assert goal.secret == (key,)
    assert isinstance(goal.states[key], File)
    assert goal.states[key].mode == 0o600


@pytest.mark.parametrize(
    ("path", "files"),
    [
        (("kernel", "sysctl", "net.ipv4.ip_forward"), ["/etc/sysctl.d/90-cni-provision.conf"]),
        (("kernel", "sysctl"), ["/etc/sysctl.d/90-cni-provision.conf"]),
        (("kernel", "modules", 0), ["/etc/modules-load.d/cni-provision.conf"]),
        (("kernel",), ["/etc/modules-load.d/cni-provision.conf", "/etc/sysctl.d/90-cni-provision.conf"]),
        (("networks", 0), []),
    ],
)
def test_secret_values_are_in_files_for_root_alone(path: tuple[str | int, ...], files: list[str]) -> None:
    goal = desired(node(kernel=KERNEL, secrets=frozenset({path})), (), [])
    private = [state.path for state in goal.states.values() if isinstance(state, File) and state.mode == 0o600]
    assert private == files
    assert [key for key in goal.secret if key.startswith("file:")] == [f"file:{each}" for each in files]


def test_a_secret_value_is_a_digest_whose_text_goes_along() -> None:
    goal = desired(node(kernel=KERNEL, secrets=frozenset({("kernel", "sysctl", "net.ipv4.ip_forward")})), (), [])
    digest = hashlib.sha256(b"1").hexdigest()
    assert goal.states["sysctl:net.ipv4.ip_forward"] == Live("sysctl", "net.ipv4.ip_forward", f"sha256:{digest}")
    assert goal.texts[digest] == "1"
    assert "sysctl:net.ipv4.ip_forward" in goal.secret
    assert "sysctl:net.ipv4.ip_local_port_range" not in goal.secret


def test_an_absent_owner_wants_nothing() -> None:
    goal = desired(node(state="absent", kernel=KERNEL), (CONFLIST,), [BRIDGE, *VLAN])
    assert (goal.states, goal.variants, goal.texts, goal.conflists) == ({}, {}, {}, ())


def test_a_request_says_all_and_survives_the_wire() -> None:
    declared = node(prune=("05-*.conflist",), adopt=("*",), owner="team-a", runtime=Runtime(cache_dir="/srv/cache"))
    asked = request(
        desired(declared, (CONFLIST,), VLAN), "apply", by="me", inventory="digest", source="hosts", time="now"
    )
    assert (asked.verb, asked.owner, asked.by, asked.prune, asked.adopt) == (
        "apply",
        "team-a",
        "me",
        ("05-*.conflist",),
        ("*",),
    )
    assert asked.cache_dir == "/srv/cache"
    assert request_from_json(to_json(asked)) == asked
