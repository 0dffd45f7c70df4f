"""Every plugin of a 1.1 conflist answers STATUS with success: it could serve an ADD now (SPEC, section 2)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cni_provision.checks.subject import Answer, Answers, CheckedNetwork, Question, Subject
from cni_provision.node.protocol import CheckOutcome

SINCE = (1, 1)


def ask(subject: Subject) -> tuple[Question, ...]:
    return tuple(question for network in subject.networks for question in questions(subject, network).values())


def has_status(network: CheckedNetwork) -> bool:
    return tuple(int(part) for part in network.cni_version.split(".")[:2]) >= SINCE


def questions(subject: Subject, network: CheckedNetwork) -> dict[str, Question]:
    """By plugin type, in the order of the list; a delegate is asked by its delegator."""
    if not has_status(network):
        return {}
    conflist = json.loads(network.text)
    shared = {"cniVersion": network.cni_version, "name": conflist["name"]}
    return {
        plugin["type"]: Question(
            "plugin", subject.executable(plugin["type"]), "STATUS", json.dumps({**plugin, **shared}, sort_keys=True)
        )
        for plugin in conflist["plugins"]
    }


def judge(subject: Subject, answers: Answers) -> tuple[CheckOutcome, ...]:
    return tuple(outcome for network in subject.networks for outcome in judge_network(subject, network, answers))


def judge_network(subject: Subject, network: CheckedNetwork, answers: Answers) -> Iterator[CheckOutcome]:
    asked = questions(subject, network)
    if not asked:
        yield CheckOutcome("status", "skip", f"cniVersion {network.cni_version} has no STATUS", network.name)
        return
    failed = [
        f"plugin `{plugin}`: {reason(answers[question])}"
        for plugin, question in asked.items()
        if answers[question].code
    ]
    for message in failed:
        yield CheckOutcome("status", "fail", message, network.name)
    if not failed:
        yield CheckOutcome("status", "pass", None, network.name)


def reason(answer: Answer) -> str:
    """The message of a CNI error object, or the raw text."""
    try:
        error = json.loads(answer.value or "")
        return f"{error['msg']} (code {error['code']})"
    except (ValueError, KeyError, TypeError):
        return (answer.value or "").strip()[:200] or f"exit {answer.code}"
