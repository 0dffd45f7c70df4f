"""Cases: what a session wrote to stderr, its exit code, and what that means (tests/cases/transport/diagnosis)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_provision.transport import diagnosis

CASES = sorted((Path(__file__).parent.parent / "cases/transport/diagnosis").glob("*.json"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_case(file: Path) -> None:
    case = json.loads(file.read_text())
    judge = {"ssh": diagnosis.of_ssh, "program": diagnosis.of_program}[case["over"]]
    error = judge("one", "\n".join(case["stderr"]), case["code"])
    assert (type(error).__name__, error.message, error.node) == (case["kind"], case["message"], "one")
    assert case["hint"] in error.hint if case["hint"] else error.hint is None
