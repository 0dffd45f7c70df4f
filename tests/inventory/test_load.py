"""Inventories as folders: `broken/<case>/expected.txt` has every diagnostic, `good/<case>/expected.json` the nodes.

A case may have `args`, a command line with `-i`, `-e`, `--limit` and `--playbook-dir`; without it, it is
`-i hosts.yaml`.
To write the expectation of a new case, run with CASES_WRITE=1 and read what it wrote.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from cni_provision.errors import Diagnostic, Mistakes, UserError
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.model import Connection, Declarations, Inventory, Node
from cni_provision.programs import run

CASES = Path(__file__).parent.parent / "cases" / "inventory"
FLEETWIDE = ("groups", "hostvars", "omit", "inventory_dir", "inventory_file")


def folders(kind: str) -> list[Path]:
    return sorted(path for path in (CASES / kind).iterdir() if path.is_dir())


def load_case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CASE_SUBNET", "10.99.0.0/24")
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="append", default=[])
    parser.add_argument("-e", action="append", default=[])
    parser.add_argument("--limit")
    parser.add_argument("--playbook-dir")
    args = folder / "args"
    words = parser.parse_args(shlex.split(args.read_text() if args.exists() else "-i hosts.yaml"))
    return load(Sources(tuple(words.i), tuple(words.e), playbook_dir=words.playbook_dir), words.limit, run)


def told(diagnostic: Diagnostic) -> str:
    """A diagnostic as text, everything that a view could show."""
    place = f"{diagnostic.place} ({diagnostic.width})" if diagnostic.place else "-"
    lines = [f"{diagnostic.severity}: {diagnostic.message}", f"  at {place}"]
    lines += [f"  on {diagnostic.node}"] if diagnostic.node else []
    lines += [f"  hint: {diagnostic.hint}"] if diagnostic.hint else []
    lines += [f"  see {place}: {note}" for place, note in diagnostic.related]
    return "\n".join(lines) + "\n"


def as_json(value: object) -> object:
    """A model as JSON: without places, and without what has its default."""
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if dataclasses.is_dataclass(value):
        shown = (item for item in dataclasses.fields(value) if not item.metadata.get("internal"))
        pairs = ((item, getattr(value, item.name)) for item in shown)
        return {item.name: as_json(found) for item, found in pairs if found != default_of(item)}
    return value


def default_of(item: dataclasses.Field[object]) -> object:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def node_as_json(node: Node) -> dict[str, object]:
    variables = {name: value_of(node, name) for name in sorted(node.variables) if name not in FLEETWIDE}
    shown = {name: value for name, value in variables.items() if not name.startswith(("cni_", "ansible_"))}
    return {
        "groups": list(node.groups),
        "connection": as_json(node.connection),
        "declarations": as_json(node.declarations),
        "variables": shown,
    }


def value_of(node: Node, name: str) -> object:
    """A variable's value, or why it has none."""
    try:
        return node.variables[name]
    except UserError as error:
        return f"{type(error).__name__}: {error.message}"


def expect(path: Path, found: str) -> None:
    if os.environ.get("CASES_WRITE") and not path.exists():
        path.write_text(found)
    assert found == path.read_text()


@pytest.mark.parametrize("folder", folders("broken"), ids=lambda folder: folder.name)
def test_broken_inventory_tells_every_mistake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as caught:
        load_case(folder, monkeypatch)
    kind = "" if isinstance(caught.value, Mistakes) else f"{type(caught.value).__name__}\n"
    expect(folder / "expected.txt", kind + "".join(map(told, caught.value.diagnostics)))


@pytest.mark.parametrize("folder", folders("good"), ids=lambda folder: folder.name)
def test_good_inventory_gives_these_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = load_case(folder, monkeypatch)
    nodes = {node.name: node_as_json(node) for node in inventory.nodes}
    warnings = [told(warning).splitlines() for warning in inventory.warnings]
    found = {"nodes": nodes, "warnings": warnings} if warnings else {"nodes": nodes}
    expect(folder / "expected.json", json.dumps(found, indent=2) + "\n")


def test_declarations_without_anything_are_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").write_text("all: {hosts: {a: {}}}")
    (node,) = load(Sources((str(tmp_path / "hosts.yaml"),))).nodes
    assert dataclasses.replace(node.declarations, plugins=()) == Declarations()
    assert [source.source for source in node.declarations.plugins] == ["builtin"]
    assert node.connection == Connection(host="a")


def test_digest_follows_what_was_read(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("all: {hosts: {a: {}}}")
    before = load(Sources((str(hosts),))).digest
    assert load(Sources((str(hosts),))).digest == before
    assert load(Sources((str(hosts),), ("x=1",))).digest != before
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yaml").write_text("x: 1")
    assert load(Sources((str(hosts),))).digest != before


def test_node_index_does_not_depend_on_the_limit() -> None:
    (node,) = load(Sources((str(CASES / "limits" / "hosts.yaml"),)), "db1").nodes
    everywhere = load(Sources((str(CASES / "limits" / "hosts.yaml"),))).nodes
    assert node.variables["node_index"] == [other.name for other in everywhere].index("db1") > 0


def test_subnets_are_compared_with_those_of_nodes_left_out() -> None:
    hosts = CASES / "broken" / "overlap-between-nodes" / "hosts.yaml"
    with pytest.raises(Mistakes) as caught:
        load(Sources((str(hosts),)), "node2")
    assert any("node `node1`" in item.message for item in caught.value.diagnostics)


def test_yaml_and_jinja_are_imported_when_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").write_text("all: {hosts: {a: {}}}")
    program = (
        "import sys; from cni_provision.inventory.load import Sources, load; import cni_provision.inventory.schema\n"
        "print('yaml' in sys.modules, 'jinja2' in sys.modules); load(Sources(('hosts.yaml',)))\n"
        "print('yaml' in sys.modules, 'jinja2' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False", "True", "False"]


def test_a_thousand_nodes_take_less_than_a_second(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").write_text("all: {children: {web: {hosts: {'node[0001:1000]': {}}}}}")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yaml").write_text(
        "ansible_host: '{{ inventory_hostname }}.example.org'\n"
        "cni_networks:\n"
        "- {name: pods, template: bridge, parameters: {subnet: \"{{ '10.0.0.0/8' | ipsubnet(24, node_index) }}\"}}\n"
    )
    seconds = []
    for _ in range(3):
        start = time.process_time()
        nodes = load(Sources((str(tmp_path / "hosts.yaml"),))).nodes
        seconds.append(time.process_time() - start)
    assert len(nodes) == 1000
    assert nodes[999].declarations.networks[0].parameters["subnet"] == "10.3.231.0/24"
    assert min(seconds) < 1
