"""Labels, capabilities and access lists: a replaced file keeps them, and one that comes back has them again."""

from __future__ import annotations

import json

import pytest

from cni_provision.node.protocol import Reload, Request
from cni_provision.plan import File
from tests.node.conftest import Bytes, Node, digest, request

pytestmark = pytest.mark.root

PATH = "/opt/cni/bin/bridge"
CAPABILITY = "0100000200200000000000000000000000000000"  # version 2, cap_net_raw effective and permitted
# version 2: owner rw-, user 4201 r--, group r--, mask r--, others ---
ACCESS = "02000000 0100 0600 ffffffff 0200 0400 69100000 0400 0400 ffffffff 1000 0400 ffffffff 2000 0000 ffffffff"
GIVEN = {
    "security.capability": CAPABILITY,
    "security.selinux": b"system_u:object_r:bin_t:s0\0".hex(),
    "system.posix_acl_access": ACCESS.replace(" ", ""),
}
FIRST = Bytes().plugin("bridge", b"first").conflist("10-pods.conflist", b"{}")
SECOND = Bytes().plugin("bridge", b"second").conflist("10-pods.conflist", b"{}")
NONE = Bytes().conflist("10-pods.conflist", b"{}")
SCRIPT = """
import json, os, sys
path, given = sys.argv[1], json.loads(sys.argv[2])
for name, value in given.items():
    os.setxattr(path, name, bytes.fromhex(value))
print(json.dumps({name: os.getxattr(path, name).hex() for name in os.listxattr(path)}))
"""


def attributes(node: Node, path: str = PATH, given: dict[str, str] | None = None) -> dict[str, str]:
    """What a file has, after it was given some."""
    found: dict[str, str] = json.loads(node.python(SCRIPT, path, json.dumps(given or {})))
    return found


def mode(node: Node) -> int:
    return node.path(PATH).stat().st_mode & 0o7777


@pytest.fixture
def given(node: Node) -> dict[str, str]:
    """A file of ours, to which somebody gave attributes; skips where this kernel's tmpfs has none."""
    node.ask(request(FIRST), FIRST.contents)
    return attributes(node, given=GIVEN)


def test_a_replaced_file_keeps_them(node: Node, given: dict[str, str]) -> None:
    assert set(given) == set(GIVEN)
    assert node.ask(request(SECOND), SECOND.contents).reply.applied
    assert node.path(PATH).read_bytes() == b"second"
    found = attributes(node)
    assert {name: found[name] for name in GIVEN if "acl" not in name} == {
        name: given[name] for name in GIVEN if "acl" not in name
    }
    assert "69100000" in found["system.posix_acl_access"]
    assert mode(node) == 0o755
    assert node.ask(request(SECOND, "plan")).reply.changes == ()


def test_a_file_that_comes_back_has_them_again(node: Node, given: dict[str, str]) -> None:
    node.ask(request(NONE), NONE.contents)
    assert not node.path(PATH).exists()
    assert node.ask(request(Bytes(), "rollback", generation=1)).reply.applied
    assert set(attributes(node)) == set(given)
    assert mode(node) == 0o755


def test_a_run_that_fails_gives_them_back(node: Node, given: dict[str, str]) -> None:
    was = mode(node)
    broken = SECOND.file("/etc/sysctl.d/a", b"1")
    reload = Reload("never", ("false",), ("/etc/sysctl.d/a",))
    assert node.ask(request(broken, reloads=(reload,)), broken.contents).reply.error
    assert node.path(PATH).read_bytes() == b"first"
    assert (attributes(node), mode(node)) == (given, was)


def test_an_adopted_file_has_them_after_removal(node: Node) -> None:
    node.write(PATH, b"theirs", mode=0o700)
    theirs = attributes(node, given=GIVEN)
    was = mode(node)
    node.ask(request(SECOND, adopt=(PATH,)), SECOND.contents)
    node.ask(request(NONE), NONE.contents)
    assert not node.path(PATH).exists()
    assert node.ask(request(Bytes(), "remove")).reply.applied
    assert node.path(PATH).read_bytes() == b"theirs"
    assert (attributes(node), mode(node)) == (theirs, was)


def test_a_declared_label_wins(node: Node, given: dict[str, str]) -> None:
    label = "system_u:object_r:container_runtime_exec_t:s0"
    wanted = FIRST.live(File(PATH, digest(b"first"), 0o755, kind="plugin", label=label))
    reply = node.ask(request(wanted), wanted.contents).reply
    assert [each.key for each in reply.changes] == [f"file:{PATH}"]
    assert bytes.fromhex(attributes(node)["security.selinux"]).decode() == f"{label}\0"
    assert node.ask(request(wanted, "plan")).reply.changes == ()
    assert node.ask(Request("status")).reply.facts["drift"] == 0
