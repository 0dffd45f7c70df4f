"""SPEC 1.1.0, section by section: cases/cni/specification.json has each rule with the tests that show it.

A test is written `module.test_name[case]`: `runtime` is tests/cni/test_runtime.py, `test_bridge` is
tests/plugins/test_bridge.py, and a case is one in the cases file of its module.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
TABLE: dict[str, list[list[str]]] = json.loads((TESTS / "cases" / "cni" / "specification.json").read_text())
SECTIONS = [
    "1 Configuration format", "1 Plugin configuration objects", "1 Version considerations",
    "2 Overview", "2 Parameters", "2 Errors", "2 ADD", "2 DEL", "2 CHECK", "2 STATUS", "2 VERSION", "2 GC",
    "3 Lifecycle & Ordering", "3 Attachment Parameters", "3 Adding an attachment", "3 Deleting an attachment",
    "3 Checking an attachment", "3 Garbage-collecting a network", "3 Deriving request configuration",
    "3 Deriving runtimeConfig", "4 Delegated Plugin protocol", "4 Delegated plugin execution procedure",
    "5 ADD Success", "5 Delegated plugins (IPAM)", "5 VERSION Success", "5 Error", "Appendix",
]  # fmt: skip


@cache
def functions(file: Path) -> set[str]:
    return {found.name for found in ast.walk(ast.parse(file.read_text())) if isinstance(found, ast.FunctionDef)}


def cases(module: str, function: str) -> set[str]:
    raw = json.loads((TESTS / "cases" / "cni" / f"{module}.json").read_text())
    return {case["name"] for case in raw[function]}


def test_every_section_is_in_the_table() -> None:
    assert list(TABLE) == SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_every_rule_is_shown_by_tests_that_exist(section: str) -> None:
    for rule, *shown in TABLE[section]:
        assert shown, f"{section}: {rule}"
        for test in shown:
            module, _, rest = test.partition(".")
            function, _, case = rest.partition("[")
            ours = not module.startswith("test_")
            file = TESTS / ("cni" if ours else "plugins") / f"{'test_' if ours else ''}{module}.py"
            assert function in functions(file), f"{rule}: there is no {test}"
            assert not case or case.removesuffix("]") in cases(module, function), f"{rule}: there is no {test}"
