"""Conflists against the specification and against what we know of plugins.

A file of `tests/cases/conflist` is a list of cases. Each has `plugins`, or one `ipam` or `chained` plugin to stand in
a bridge's list, perhaps other keys of the list as `head`, and the `problems` that are found, as `path: message`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_provision import conflist
from cni_provision.conflist_plugins import RECORDS, TABLES, plugin
from cni_provision.conflist_shape import Problem, describe, did_you_mean, known, problems

CASES = [
    pytest.param(case, id=f"{file.stem}-{number}")
    for file in sorted((Path(__file__).parent / "cases" / "conflist").glob("*.yaml"))
    for number, case in enumerate(yaml.safe_load(file.read_text()), 1)
]


def document_of(case: dict[str, Any]) -> dict[str, Any]:
    bridge = {"type": "bridge"} | ({"ipam": case["ipam"]} if "ipam" in case else {})
    plugins = case.get("plugins", [bridge, *([case["chained"]] if "chained" in case else [])])
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins} | case.get("head", {})


def told(problem: Problem) -> str:
    where = ".".join(str(step) for step in problem.path) or "-"
    kind = "" if problem.severity == "error" else f"{problem.severity}: "
    return f"{where}: {kind}{problem.message}" + (f" ({problem.hint})" if problem.hint else "")


@pytest.mark.parametrize("case", CASES)
def test_problems(case: dict[str, Any]) -> None:
    assert [told(problem) for problem in conflist.check(document_of(case))] == case.get("problems", [])


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_a_conflist_is_a_mapping(document: object) -> None:
    (problem,) = conflist.check(document)
    assert problem.message.startswith("a conflist is a mapping, not")


def test_canonical_text_depends_on_values_not_on_order() -> None:
    one = {
        "plugins": [{"ipam": {"subnet": "ü", "type": "x"}, "type": "a", "b": 1}],
        "name": "n",
        "cniVersion": "1.0.0",
    }
    other = {
        "cniVersion": "1.0.0",
        "name": "n",
        "plugins": [{"b": 1, "type": "a", "ipam": {"type": "x", "subnet": "ü"}}],
    }
    assert conflist.canonical(one) == conflist.canonical(other)
    assert json.loads(conflist.canonical(one)) == one
    assert conflist.canonical(one).startswith(
        '{\n  "cniVersion": "1.0.0",\n  "name": "n",\n  "plugins": [\n    {\n      "type"'
    )
    assert conflist.canonical(one).endswith("}\n")


def test_plugin_types_are_each_named_once() -> None:
    host_local = {"type": "host-local"}
    plugins = [{"type": "bridge", "ipam": host_local}, {"type": "portmap"}, {"type": "ptp", "ipam": host_local}]
    plugins += [{"type": "bridge", "ipam": {}}]
    assert conflist.plugin_types({"plugins": plugins}) == ("bridge", "host-local", "portmap", "ptp")


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_written_in_the_language(name: str) -> None:
    found = plugin(name)
    assert found is not None
    assert all(known(field.shape, RECORDS) for field in found.fields.values())
    assert len(found.fields) >= 5


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_written_in_the_language(name: str) -> None:
    assert all(known(field.shape, RECORDS) for field in RECORDS[name].values())


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        ("string", ["", "x"], [None, 1, [], True]),
        ("integer", [0, -1], [True, 1.0, "1"]),
        ("integer 0..9", [0, 9], [-1, 10, True, "5"]),
        ("number", [1, 1.5], [True, float("nan"), float("inf"), "1"]),
        ("boolean", [True, False], [0, 1, "true"]),
        ("list of integer", [[], [1, 2]], [1, ["1"], {}]),
        ("list of list of cidr", [[["10.0.0.0/8"]]], [["10.0.0.0/8"], [[7]]]),
        ('"a" or "b"', ["a", "b"], ["c", None, 1]),
        ("boolean or mapping", [True, {}], ["", []]),
        ("address", ["10.0.0.1", "fd00::1"], ["10.0.0.1/8", "10.0.0", 10]),
        ("cidr", ["10.0.0.0/8", "fd00::/64", "0.0.0.0/0"], ["10.0.0.1/8", "10.0.0.0", "fd00::/129"]),
        ("prefix", ["10.0.0.1/8", "fd00::1/64"], ["10.0.0.1"]),
        ("interface", ["eth0", "a" * 15], ["", ".", "..", "a/b", "a:b", "a b", "a" * 16, None]),
        ("mac", ["02:00:00:00:00:0a", "02:00:00:00:00:0A"], ["02:00", "02-00-00-00-00-01", 2]),
        ("path", ["/run"], ["run", "", None]),
        ("any", [None, 1, "x", []], []),
    ],
)
def test_shapes(shape: str, good: list[object], bad: list[object]) -> None:
    assert known(shape)
    assert [value for value in good if problems(shape, value, "it")] == []
    assert [value for value in bad if not problems(shape, value, "it")] == []


def test_shapes_in_words() -> None:
    assert describe('integer 0..9 or "x"') == "an integer from 0 to 9 or `x`"
    assert describe('"" or "l2" or "l3"') == "`l2` or `l3`"
    assert describe("list of list of integer") == "a list, each a list, each an integer"
    assert not known("integr")
    assert not known("list of integr")


def test_long_values_are_shortened() -> None:
    (problem,) = problems("integer", "x" * 200, "it")
    assert len(problem.message) < 100


@pytest.mark.parametrize(
    ("word", "hint"),
    [("isGatway", "isGateway"), ("is_gateway", "isGateway"), ("ISGATEWAY", "isGateway"), ("zzz", None)],
)
def test_did_you_mean(word: str, hint: str | None) -> None:
    assert did_you_mean(word, ["isGateway", "mtu"]) == (f"did you mean `{hint}`?" if hint else None)
