"""Runs a verification on the node: asks what the checks want to know, lets them judge, sends traffic."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from cni_provision.checks import subject as subjects
from cni_provision.node.answers import answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_provision.checks.subject import Answers, Question, Subject
    from cni_provision.node.protocol import CheckOutcome


class Check(Protocol):
    """What a module of `cni_provision.checks` offers."""

    def ask(self, subject: Subject) -> tuple[Question, ...]: ...

    def judge(self, subject: Subject, answers: Answers) -> tuple[CheckOutcome, ...]: ...


def verify(asked: Mapping[str, Any]) -> tuple[CheckOutcome, ...]:
    """Every outcome of the subject's checks and of its probe; `asked` is `checks.subject.to_json`'s."""
    subject = subjects.from_json(asked)
    checks = [load(name) for name in subject.checks]
    answers = {question: answer(question, subject) for check in checks for question in check.ask(subject)}
    outcomes = tuple(outcome for check in checks for outcome in check.judge(subject, answers))
    if subject.probe and not any(outcome.outcome == "fail" for outcome in outcomes):
        from cni_provision.node.probe import probe

        outcomes += probe(subject)
    return outcomes


def load(name: str) -> Check:
    """The check module `name`; names come from the controller, so only plain identifiers are taken."""
    if not name.isidentifier():
        raise ValueError(f"`{name}` is not the name of a check")
    return cast("Check", importlib.import_module(f"cni_provision.checks.{name}"))
