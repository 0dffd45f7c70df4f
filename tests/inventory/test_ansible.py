"""The reader `ansible`: the same nodes as `own` gives, places, what it says where it cannot, and where values go."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from cni_provision import programs
from cni_provision.errors import Mistakes, UserError
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.outside import Ran
from tests.inventory import peers

CASES = Path(__file__).parent.parent / "cases" / "inventory"


@pytest.fixture(params=list(peers.VERSIONS))
def ansible(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    program = str(peers.python(request.param).with_name("ansible"))
    monkeypatch.setenv("CNI_PROVISION_ANSIBLE", program)
    return program


@pytest.mark.parametrize("case", ["declarations", "precedence", "connection"])
def test_both_readers_give_the_same_nodes(case: str, ansible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / "good" / case)
    paths = ("site", "extra") if case == "precedence" else ("hosts.yaml",)
    own, other = (load(Sources(paths, reader=reader), run=programs.run) for reader in ("own", "ansible"))
    assert [node.name for node in own.nodes] == [node.name for node in other.nodes]
    for ours, theirs in zip(own.nodes, other.nodes, strict=True):
        assert ours.groups == theirs.groups
        assert ours.connection == theirs.connection
        assert without_places(ours.declarations) == without_places(theirs.declarations)


def without_places(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = [item.name for item in dataclasses.fields(value) if not item.metadata.get("internal")]
        return [without_places(getattr(value, name)) for name in shown]
    return [without_places(item) for item in value] if isinstance(value, tuple) else value


def test_mistakes_have_their_places(ansible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.yaml").write_text(
        "all:\n  hosts: {n1: }\n  vars:\n    cni_networks:\n    - name: pods\n      template: bridge\n"
        '      parametres: {}\n      order: "{{ \'x\' }}"\n    cni_kernel: "{{ nothing }}"\n'
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Mistakes) as caught:
        load(Sources(("hosts.yaml",), reader="ansible"), run=programs.run)
    found = [(str(item.place), item.message) for item in caught.value.diagnostics]
    assert ("hosts.yaml:7:7", "unknown key `parametres` in network `pods`") in found
    assert any(place.startswith("hosts.yaml:8:") and "must be a whole number" in text for place, text in found)
    assert any(place.startswith("hosts.yaml:9:") and "'nothing' is undefined" in text for place, text in found)


def test_decrypted_values_are_in_no_argument_variable_or_output(
    ansible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CASES / "differential" / "vault")
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(tmp_path / "log"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "local"))
    seen: list[object] = []

    def run(argv: Sequence[str], variables: Mapping[str, str], *, answers: bool = False) -> Ran:
        ran = programs.run(argv, variables, answers=answers)
        seen.extend([argv, variables, ran.output, ran.complaint])
        return ran

    node = load(Sources(("hosts.yaml",), reader="ansible", vault_ids=("password",)), run=run).nodes[0]
    assert node.variables["token"] == "hunter2"
    assert "hunter2" not in repr(seen)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in path.read_bytes() for path in written)


def test_without_ansible_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CNI_PROVISION_ANSIBLE", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(UserError) as caught:
        load(Sources((str(CASES / "limits" / "hosts.yaml"),), reader="ansible"), run=programs.run)
    assert str(caught.value) == f"there is no `ansible` on PATH, nor beside {tmp_path}/python"
    assert "-m pip install ansible-core" in (caught.value.hint or "")


def test_what_ansible_says_is_told(ansible: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("[web:vars]\na=1\n")
    with pytest.raises(UserError) as caught:
        load(Sources((str(tmp_path / "hosts.ini"),), reader="ansible"), run=programs.run)
    assert "Completely failed to parse inventory source" in caught.value.message
    assert os.path.basename(ansible) in caught.value.message
