"""Each check asks and judges as its cases say: `tests/cases/checks/<check>/<case>.json`."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

import pytest

from cni_provision import checks
from cni_provision.checks.subject import Answer, Question, from_json, to_json

CASES = Path(__file__).parent.parent / "cases/checks"
VERSION_STDIN = '{"cniVersion": "1.0.0"}'


def question(plain: dict[str, str]) -> Question:
    asked = VERSION_STDIN if plain["verb"] == "VERSION" else ""
    return Question(plain["kind"], plain["name"], plain["verb"], plain.get("stdin", asked))


@pytest.mark.parametrize("case", sorted(CASES.rglob("*.json")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_case(case: Path) -> None:
    plain = json.loads(case.read_text())
    check = importlib.import_module(f"cni_provision.checks.{case.parent.name}")
    subject = from_json(plain["subject"])
    answers = {question(answer): Answer(answer["value"], answer["code"]) for answer in plain["answers"]}
    assert set(check.ask(subject)) == set(answers)
    judged = [[outcome.outcome, outcome.message] for outcome in check.judge(subject, answers)]
    assert judged == plain["outcomes"]


def test_every_check_has_cases() -> None:
    modules = {module.name for module in pkgutil.iter_modules(checks.__path__)} - {"subject"}
    assert modules == {folder.name for folder in CASES.iterdir()}


def test_a_subject_travels_unchanged() -> None:
    for case in CASES.rglob("*.json"):
        subject = from_json(json.loads(case.read_text())["subject"])
        assert from_json(json.loads(json.dumps(to_json(subject)))) == subject
