"""The fleet as a whole: `tests/cases/prepare/<case>` is an inventory, and every mistake that is found in it."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from cni_provision import desired_recovery
from cni_provision.artifact import builtin_plugins
from cni_provision.desired_service import PATH
from cni_provision.errors import Diagnostic, Mistakes, Place
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.model import (
    Connection,
    Declarations,
    Inventory,
    Kernel,
    Network,
    Node,
    PluginSource,
    Runtime,
)
from cni_provision.node import bundle
from cni_provision.plan import File
from cni_provision.prepare import builtin_versions, check, once, prepare, write

CASES = Path(__file__).parent / "cases" / "prepare"
OURS = PluginSource("ours", "builtin")


def located(place: Place | None) -> str:
    return f"{Path(place.file).name}:{place.line}:{place.column}" if place else "-"


def told(diagnostic: Diagnostic) -> str:
    lines = [f"{diagnostic.severity}: {diagnostic.message}", f"  at {located(diagnostic.place)}"]
    lines += [f"  on {diagnostic.node}"] if diagnostic.node else []
    lines += [f"  {note}: {located(place)}" for place, note in diagnostic.related]
    lines += [f"  hint: {diagnostic.hint}"] if diagnostic.hint else []
    return "\n".join(lines) + "\n"


def mistakes_of(case: Path) -> str:
    with pytest.raises(Mistakes) as caught:
        check(load(Sources((str(case / "hosts.yaml"),), ()), None))
    return "\n".join(map(told, caught.value.diagnostics))


@pytest.mark.parametrize("name", sorted(folder.name for folder in CASES.iterdir()))
def test_tells_every_mistake(name: str) -> None:
    assert mistakes_of(CASES / name) == (CASES / name / "expected.txt").read_text()


def fleet(
    count: int, *networks: Network, sources: tuple[PluginSource, ...] = (OURS,), state: str = "present"
) -> Inventory:
    kernel, runtime = Kernel((), {"net.ipv4.ip_forward": "1"}), Runtime(server=False, recovery=False)
    declared = Declarations(networks, sources, kernel=kernel, runtime=runtime, state=state)
    return Inventory(
        tuple(Node(f"node-{i}", (), Connection(), declared) for i in range(count)), "hosts.yaml", "digest"
    )


PODS = Network("pods", 10, "bridge", {"subnet": "10.1.0.0/24", "portmap": True})


def test_every_digest_of_every_node_has_its_bytes(tmp_path: Path) -> None:
    prepared = prepare(fleet(3, PODS), tmp_path)
    assert [goal.node.name for goal in prepared.desired] == ["node-0", "node-1", "node-2"]
    for goal in prepared.desired:
        files = [state for state in goal.states.values() if isinstance(state, File) and state.kind != "directory"]
        assert {file.kind for file in files} == {"plugin", "conflist", "file"}
        for file in files:
            assert hashlib.sha256(prepared.blobs.get(file.digest)).hexdigest() == file.digest


def test_a_release_is_collected_once_and_by_architecture(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("vlan")
        info.mode = 0o755
        archive.addfile(info)
    (tmp_path / "x-amd64.tgz").write_bytes(buffer.getvalue())
    checksums = {"amd64": hashlib.sha256(buffer.getvalue()).hexdigest()}
    source = PluginSource("reference", "release", url=str(tmp_path / "x-{arch}.tgz"), checksums=checksums)
    vlan = Network("lan", plugins=({"type": "vlan", "master": "eth0", "ipam": {"type": "static"}},))
    static = PluginSource("static", "file", path=str(tmp_path / "x-amd64.tgz"), plugins=("static",))
    prepared = prepare(
        fleet(2, vlan, sources=(replace(OURS, plugins=("bridge",)), source, static)), tmp_path / "cache"
    )
    assert all("file:/opt/cni/bin/vlan" in goal.variants["amd64"] for goal in prepared.desired)
    assert all("file:/opt/cni/bin/vlan" not in goal.states for goal in prepared.desired)


def with_runtime(inventory: Inventory, runtime: Runtime) -> Inventory:
    nodes = (replace(each, declarations=replace(each.declarations, runtime=runtime)) for each in inventory.nodes)
    return replace(inventory, nodes=tuple(nodes))


def test_nodes_with_plugins_of_ours_get_their_server(tmp_path: Path) -> None:
    (goal,) = prepare(with_runtime(fleet(1, PODS), Runtime()), tmp_path).desired
    for architecture, states in goal.variants.items():
        assert PATH in {state.path for state in states.values() if isinstance(state, File)}, architecture


def test_all_nodes_get_the_program_that_recovers(tmp_path: Path) -> None:
    prepared = prepare(with_runtime(fleet(2, PODS), Runtime()), tmp_path)
    for goal in prepared.desired:
        program = goal.states[f"file:{desired_recovery.PATH}"]
        assert isinstance(program, File)
        assert prepared.blobs.get(program.digest) == bundle.recovery()


def test_what_is_wrong_with_a_source_is_told_once(tmp_path: Path) -> None:
    place = Place("hosts.yaml", 7, 5)
    source = PluginSource("mine", "file", path=str(tmp_path / "absent"), place=place)
    with pytest.raises(Mistakes) as caught:
        prepare(fleet(5, sources=(OURS, source)), tmp_path)
    (found,) = caught.value.diagnostics
    assert (found.place, found.node) == (place, None)
    assert found.message.startswith("cannot read")


def test_an_absent_owner_is_not_looked_into(tmp_path: Path) -> None:
    source = PluginSource("mine", "file", path=str(tmp_path / "absent"))
    prepared = prepare(fleet(2, Network("x", template="none"), sources=(source,), state="absent"), tmp_path)
    assert all(not goal.states for goal in prepared.desired)


def test_warnings_do_not_stop(tmp_path: Path) -> None:
    network = Network("pods", plugins=({"type": "loopback"}, {"type": "portmap"}))
    (warning,) = prepare(fleet(3, network), tmp_path).warnings
    assert warning.severity == "warning"
    assert "capability `portMappings`" in warning.message
    assert check(fleet(3, network)) == (warning,)


def test_a_release_that_was_not_looked_into_may_hold_anything() -> None:
    source = PluginSource("theirs", "release", url="https://example.org/x-{arch}.tgz", checksums={"amd64": "0" * 64})
    acme = Network("lan", plugins=({"type": "acme"},))
    assert check(fleet(1, acme, sources=(source,))) == ()
    with pytest.raises(Mistakes, match="1 mistake"):
        check(fleet(1, acme))


def test_the_small_files_are_written_below_their_node(tmp_path: Path) -> None:
    prepared = prepare(fleet(2, PODS), tmp_path / "cache")
    written = write(prepared, tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in written] == [
        "node-0/etc/cni/net.d/10-pods.conflist",
        "node-0/etc/sysctl.d/90-cni-provision.conf",
        "node-1/etc/cni/net.d/10-pods.conflist",
        "node-1/etc/sysctl.d/90-cni-provision.conf",
    ]
    assert written[0].read_text() == prepared.desired[0].texts[hashlib.sha256(written[0].read_bytes()).hexdigest()]


def test_secret_files_are_written_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    text = (
        '{# Secret.\n\n  token: secret\n#}\n{"name": "s", "cniVersion": "1.0.0", "plugins": [{"type": "loopback"}]}\n'
    )
    (folder / "own.conflist.j2").write_text(text)
    place = Place(str(tmp_path / "group_vars" / "all.yaml"), 1, 1)
    network = Network("s", template="own", parameters={"token": "canary"}, place=place)
    prepared = prepare(fleet(1, network), tmp_path)
    assert prepared.desired[0].secret == ("file:/etc/cni/net.d/50-s.conflist",)
    (tmp_path / "out/node-0/etc/cni/net.d").mkdir(parents=True)
    (tmp_path / "out/node-0/etc/cni/net.d/50-s.conflist").write_text("older, for all to read")
    (first, _) = write(prepared, tmp_path / "out")
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


def test_many_nodes_alike_are_told_once() -> None:
    one = Diagnostic("wrong", Place("hosts.yaml", 1, 1), node="node-1")
    other = Diagnostic("wrong", Place("hosts.yaml", 1, 1), node="node-2")
    alone = Diagnostic("else", Place("a.yaml", 2, 1), node="node-2")
    assert once([one, other, alone]) == (alone, Diagnostic("wrong", Place("hosts.yaml", 1, 1)))


def test_our_plugins_say_which_versions_they_speak(tmp_path: Path) -> None:
    assert list(builtin_versions()) == list(builtin_plugins())
    assert all("1.0.0" in versions for versions in builtin_versions().values())


def test_a_files_checksum_is_proved_without_touching_a_node(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"another one")
    source = PluginSource("mine", "file", path=str(tmp_path / "mine"), checksum=f"sha256:{'0' * 64}")
    inventory = fleet(1, sources=(source,))
    for look in (check, prepare):
        with pytest.raises(Mistakes) as caught:
            look(inventory)
        assert "0" * 12 in caught.value.diagnostics[0].message


def test_checking_looks_into_what_is_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "x-amd64.tgz").write_bytes(b"another release")
    wrong = {"checksums": {"amd64": "sha256:" + "0" * 64}}
    source = PluginSource("reference", "release", url=str(tmp_path / "x-{arch}.tgz"), plugins=("vlan",), **wrong)
    with pytest.raises(Mistakes, match="mistake") as caught:
        check(fleet(1, PODS, sources=(replace(OURS, plugins=("bridge", "host-local")), source)))
    assert any("checksum" in found.message for found in caught.value.diagnostics)
