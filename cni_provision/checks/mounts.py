"""Plugins can be executed where they are: the file system is not mounted `noexec`."""

from __future__ import annotations

from cni_provision.checks.subject import Answers, Question, Subject
from cni_provision.node.protocol import CheckOutcome


def ask(subject: Subject) -> tuple[Question, ...]:
    return (Question("mount", subject.bin_dir),)


def judge(subject: Subject, answers: Answers) -> tuple[CheckOutcome, ...]:
    flags = answers[Question("mount", subject.bin_dir)].value
    if flags is None:
        return (CheckOutcome("mounts", "fail", f"{subject.bin_dir} does not exist"),)
    if "noexec" in flags.split():
        return (CheckOutcome("mounts", "fail", f"{subject.bin_dir} is mounted noexec, no plugin can run there"),)
    return (CheckOutcome("mounts", "pass"),)
