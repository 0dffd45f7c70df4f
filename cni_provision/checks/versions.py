"""Every plugin that a conflist names answers VERSION and speaks the conflist's `cniVersion` (SPEC, section 2)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cni_provision.checks.subject import Answer, Answers, CheckedNetwork, Question, Subject
from cni_provision.node.protocol import CheckOutcome


def ask(subject: Subject) -> tuple[Question, ...]:
    types = sorted({plugin for network in subject.networks for plugin in network.types})
    return tuple(question(subject, plugin) for plugin in types)


def question(subject: Subject, plugin: str) -> Question:
    return Question("plugin", subject.executable(plugin), "VERSION", '{"cniVersion": "1.0.0"}')


def judge(subject: Subject, answers: Answers) -> tuple[CheckOutcome, ...]:
    return tuple(outcome for network in subject.networks for outcome in judge_network(subject, network, answers))


def judge_network(subject: Subject, network: CheckedNetwork, answers: Answers) -> Iterator[CheckOutcome]:
    failures = [
        failure
        for plugin in network.types
        if (failure := complaint(plugin, network.cni_version, answers[question(subject, plugin)]))
    ]
    if not failures:
        yield CheckOutcome(
            "versions", "pass", f"{len(network.types)} plugins speak {network.cni_version}", network.name
        )
    for failure in failures:
        yield CheckOutcome("versions", "fail", failure, network.name)


def complaint(plugin: str, wanted: str, answer: Answer) -> str:
    """What is wrong with a plugin's answer to VERSION; empty when nothing is."""
    if answer.value is None:
        return f"plugin `{plugin}` is not installed"
    try:
        supported = json.loads(answer.value)["supportedVersions"]
    except (ValueError, KeyError, TypeError):
        return f"plugin `{plugin}` does not answer VERSION: {answer.value.strip()[:200] or f'exit {answer.code}'}"
    if wanted not in supported:
        return f"plugin `{plugin}` speaks {', '.join(map(str, supported))}, the conflist asks for {wanted}"
    return ""
