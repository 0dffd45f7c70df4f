"""Every installed file has the bytes that were declared."""

from __future__ import annotations

from cni_provision.checks.subject import Answers, Question, Subject
from cni_provision.node.protocol import CheckOutcome


def ask(subject: Subject) -> tuple[Question, ...]:
    return tuple(Question("digest", path) for path, _ in subject.files)


def judge(subject: Subject, answers: Answers) -> tuple[CheckOutcome, ...]:
    wrong = [
        f"{path} is missing" if found is None else f"{path} has other bytes"
        for path, digest in subject.files
        if (found := answers[Question("digest", path)].value) != digest
    ]
    if wrong:
        return tuple(CheckOutcome("digests", "fail", message) for message in wrong)
    return (CheckOutcome("digests", "pass", f"{len(subject.files)} files"),)
