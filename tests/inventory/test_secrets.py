"""What is secret stays so: through templates, filters, merges, `combine`, `hostvars`, and into the rendered file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.errors import UserError
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.model import Inventory
from cni_provision.prepare import prepare
from cni_provision.programs import run
from tests.inventory import peers

CANARY = "canary-7f3a"
VARIABLES = """
all:
  hosts: {n1: {}, n2: {mine: "{{ token }}"}}
  vars:
    token: "{{ lookup('env', 'CASE_TOKEN') }}"
    open: {a: 1, b: [x]}
    through: "{{ token }}"
    text: "Bearer {{ through }}"
    filtered: "{{ token | b64encode }}"
    hashed: "{{ token | hash('sha256') }}"
    length: "{{ token | length }}"
    combined: "{{ open | combine({'t': token}) }}"
    listed: ["{{ text }}", plain]
    other: "{{ hostvars['n2'].mine }}"
    mapped: "{{ groups.all | map('extract', hostvars, 'token') | list }}"
    condition: "{{ 'yes' if token else 'no' }}"
    looped: "{% for t in [token] %}{{ t }}{% endfor %}"
    query: "{{ q('env', 'CASE_TOKEN') }}"
    untouched: "{{ open.a }} {{ inventory_hostname }}"
    beside: "{{ hostvars['n2'].untouched }}"
    lazy: "{{ {'k': open, 't': 1} | combine(open) }}"
"""
SECRET = {
    "token", "through", "text", "filtered", "hashed", "length", "combined", "listed", "other", "mapped", "condition",
    "looped", "query", "mine",
}  # fmt: skip
NETWORKS = """
    cni_networks:
    - {name: open, order: 1, plugins: [{type: bridge, bridge: cni0}]}
    - {name: sealed, order: 2, plugins: [{type: bridge, bridge: "{{ through }}"}]}
    - {name: merged, order: 3, plugins: [{type: bridge, bridge: cni2}], cni_version: "1.0.0"}
    cni_networks__more:
    - {name: merged, plugins: [{type: bridge, bridge: "{{ combined.t }}"}]}
    cni_kernel: {sysctl: {kernel.domainname: "{{ token }}"}}
    cni_plugins: [{name: none, source: builtin, plugins: [bridge]}]
"""


def inventory(folder: Path, monkeypatch: pytest.MonkeyPatch, reader: str = "own") -> Inventory:
    (folder / "hosts.yaml").write_text(VARIABLES + NETWORKS)
    monkeypatch.setenv("CASE_TOKEN", CANARY)
    monkeypatch.chdir(folder)
    return load(Sources(("hosts.yaml",), reader=reader), run=run)


def secret_variables(found: Inventory, folder: Path) -> set[str]:
    """The variables whose reading is marked, each asked of a fresh load."""
    marked = set()
    for name in [name for name in found.nodes[1].variables if not name.startswith("cni_")]:
        (node,) = [node for node in load(Sources(("hosts.yaml",))).nodes if node.name == "n2"]
        try:
            node.variables[name]
        except (UserError, KeyError):
            continue
        if getattr(node.variables, "met_secret", False):
            marked.add(name)
    return marked


def test_what_comes_from_the_environment_marks_everything_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = inventory(tmp_path, monkeypatch)
    assert secret_variables(found, tmp_path) - {"hostvars"} == SECRET


def test_declarations_say_where_their_secrets_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = inventory(tmp_path, monkeypatch).nodes[0].declarations
    assert {network.name: set(network.secrets) for network in declared.networks} == {
        "open": set(),
        "sealed": {("plugins", 0, "bridge")},
        "merged": {("plugins", 0, "bridge")},
    }
    assert ("kernel", "sysctl", "kernel.domainname") in declared.secrets


def test_the_rendered_file_of_a_secret_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = prepare(inventory(tmp_path, monkeypatch)).desired[0]
    sealed = {key.rpartition("/")[2] for key in goal.secret}
    assert {"02-sealed.conflist", "03-merged.conflist"} <= sealed
    assert "01-open.conflist" not in sealed


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_ansible_marks_vaulted_values_and_what_is_made_of_them(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = peers.python(version).with_name("ansible")
    monkeypatch.setenv("CNI_PROVISION_ANSIBLE", str(program))
    found = inventory(tmp_path, monkeypatch, reader="ansible")
    assert {network.name for network in found.nodes[0].declarations.networks if network.secrets} == {
        "sealed",
        "merged",
    }
    assert ("kernel", "sysctl", "kernel.domainname") in found.nodes[0].declarations.secrets
    vaulted = Path(__file__).parent.parent / "cases" / "inventory" / "differential" / "vault"
    monkeypatch.chdir(vaulted)
    sources = Sources(("hosts.yaml",), reader="ansible", vault_ids=("password",))
    for name, secret in {
        "token": True,
        "used": True,
        "other": True,
        "joined": True,
        "free": False,
        "whole": True,
    }.items():
        node = load(sources, run=run).nodes[0]
        node.variables[name]
        assert node.variables.met_secret is secret, name  # type: ignore[attr-defined]
    assert load(sources, run=run).nodes[0].variables["used"] == "xhunter2"
