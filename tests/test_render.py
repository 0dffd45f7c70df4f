"""Rendering by cases: `tests/cases/render/<case>` is an inventory of one node, and what comes of it.

`hosts.yaml` declares the networks, `templates/` may stand beside it. `expected.conflist` is the text, or
`expected.txt` holds every mistake with its place, its hint and the template line beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_provision.cni.config import load_conflist
from cni_provision.errors import Diagnostic, Mistakes, Place, UserError
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.model import Connection, Declarations, Network, Node
from cni_provision.render import render, renderer
from cni_provision.render_explain import Mistake
from cni_provision.render_template import Templates

CASES = Path(__file__).parent / "cases" / "render"
TEMPLATES = Path(__file__).parent.parent / "templates"
GOOD = sorted(file.parent.name for file in CASES.glob("*/expected.conflist"))
BROKEN = sorted(file.parent.name for file in CASES.glob("*/expected.txt"))


def node_of(case: Path) -> Node:
    return load(Sources((str(case / "hosts.yaml"),), ()), None).nodes[0]


def located(place: Place) -> str:
    """Lines of the inventory by number; lines of templates by their text, so that templates can grow."""
    file = Path(place.file)
    if file.suffix != ".j2" or not place.line:
        return f"{file.name}:{place.line}:{place.column}" if place.line else file.name
    return f"{file.name}: {file.read_text().splitlines()[place.line - 1].strip()}"


def told(diagnostic: Diagnostic) -> str:
    lines = [f"{diagnostic.severity}: {diagnostic.message}"]
    lines += [f"  at {located(diagnostic.place)}"] if diagnostic.place else []
    lines += [f"  {note}: {located(place)}" for place, note in diagnostic.related]
    lines += [f"  hint: {diagnostic.hint}"] if diagnostic.hint else []
    return "\n".join(lines) + "\n"


def test_every_case_has_one_expectation() -> None:
    assert sorted([*GOOD, *BROKEN]) == sorted(folder.name for folder in CASES.iterdir() if folder.is_dir())


@pytest.mark.parametrize("name", GOOD)
def test_renders(name: str) -> None:
    (conflist,) = render(node_of(CASES / name))
    assert conflist.text == (CASES / name / "expected.conflist").read_text()


@pytest.mark.parametrize("name", GOOD)
def test_the_runtime_library_reads_it(name: str) -> None:
    (conflist,) = render(node_of(CASES / name))
    network = load_conflist(conflist.text.encode())
    assert network.name == conflist.network
    assert [plugin["type"] for plugin in json.loads(conflist.text)["plugins"]] == [p.type for p in network.plugins]


@pytest.mark.parametrize("name", BROKEN)
def test_tells_every_mistake(name: str) -> None:
    with pytest.raises(Mistakes) as caught:
        render(node_of(CASES / name))
    assert "\n".join(map(told, caught.value.diagnostics)) == (CASES / name / "expected.txt").read_text()


def node_with(*networks: Network, name: str = "node-1") -> Node:
    return Node(name, (), Connection(), Declarations(networks))


def test_every_template_that_comes_with_us_is_described() -> None:
    templates = Templates([TEMPLATES])
    assert set(templates.names()) >= {"bridge", "ptp", "macvlan", "ipvlan", "vlan", "loopback", "raw"}
    for name in templates.names():
        signature = templates.signature(name)
        assert signature.about.endswith(".")
        assert all(parameter.shape for parameter in signature.parameters.values())


def test_every_template_that_comes_with_us_has_a_case() -> None:
    used = {network.template or "raw" for name in GOOD for network in node_of(CASES / name).declarations.networks}
    assert used >= set(Templates([TEMPLATES]).names())


def test_equal_networks_are_rendered_once() -> None:
    network = Network("pods", template="bridge", parameters={"subnet": "10.1.0.0/24"})
    one, other = node_with(network), node_with(network, name="node-2")
    drawing = renderer([one, other])
    assert drawing.rendering(network, one) is drawing.rendering(network, other)


def test_a_template_that_reads_the_node_is_rendered_for_each() -> None:
    node = node_of(CASES / "own-template")
    (network,) = node.declarations.networks
    other = Node("node-2", (), Connection(), node.declarations)
    drawing = renderer([node])
    texts = [drawing.rendering(network, on).text for on in (node, other)]
    assert [json.loads(text)["plugins"][0]["host"] for text in texts] == ["node-1", "node-2"]


def test_types_are_the_executables_of_the_chain() -> None:
    (conflist,) = render(node_of(CASES / "bridge"))
    assert conflist.types == ("bridge", "host-local", "portmap")
    assert (conflist.file_name, conflist.cni_version) == ("50-pods.conflist", "1.0.0")


def test_a_secret_parameter_taints_its_file_and_stays_out_of_messages() -> None:
    node = node_of(CASES / "own-template")
    (network,) = node.declarations.networks
    assert not renderer([node]).rendering(network, node).secret
    given = Network("pods", template="acme", parameters={"uplink": "eth1", "token": "canary"}, place=network.place)
    rendering = renderer([node]).rendering(given, node)
    assert rendering.secret
    assert "canary" in rendering.text
    wrong = Network("pods", template="acme", parameters={"uplink": "eth1", "token": ["canary"]}, place=network.place)
    mistakes = renderer([node]).rendering(wrong, node).mistakes
    assert mistakes
    assert "canary" not in repr(mistakes)


def test_types_of_the_users_own_are_not_judged() -> None:
    node = node_with(Network("pods", plugins=({"type": "bridge", "anything": [1]},)))
    with pytest.raises(Mistakes):
        render(node)
    (conflist,) = render(node, frozenset({"bridge"}))
    assert json.loads(conflist.text)["plugins"] == [{"type": "bridge", "anything": [1]}]


def test_portmap_without_its_capability_is_a_warning() -> None:
    network = Network("pods", plugins=({"type": "loopback"}, {"type": "portmap"}))
    rendering = renderer([node_with(network)]).rendering(network, node_with(network))
    assert [type(mistake) for mistake in rendering.mistakes] == [Mistake]
    assert rendering.mistakes[0].problem.severity == "warning"
    assert rendering.conflist(network) is not None


def test_templates_of_the_inventory_win_over_ours(tmp_path: Path) -> None:
    (tmp_path / "bridge.conflist.j2").write_text("{# Mine. #}\n{}\n")
    assert Templates([tmp_path, TEMPLATES]).signature("bridge").about == "Mine."
    assert Templates([TEMPLATES, tmp_path]).signature("bridge").about != "Mine."


def test_a_template_cannot_reach_outside(tmp_path: Path) -> None:
    (tmp_path / "bad.conflist.j2").write_text("{# Bad. #}\n{% include '/etc/hostname' %}\n")
    with pytest.raises(UserError, match="hostname"):
        Templates([tmp_path]).render("bad", {})
