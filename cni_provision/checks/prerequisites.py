"""The kernel and the programs are there that the declared networks need, and declared values are in force."""

from __future__ import annotations

from collections.abc import Iterator

from cni_provision.checks.subject import Answers, CheckedNetwork, Question, Subject
from cni_provision.node.protocol import CheckOutcome
from cni_provision.plan import Live, hidden, is_hidden

NEEDS_NFT = ('"ipMasq": true', '"type": "portmap"', '"macspoofchk": true')


def needs_nft(network: CheckedNetwork) -> bool:
    return any(sign in network.text for sign in NEEDS_NFT)


def ask(subject: Subject) -> tuple[Question, ...]:
    return (
        *(Question("sysctl", name) for name, _ in subject.sysctl),
        *(Question("module", name) for name in subject.modules),
        *((Question("program", "nft"),) if any(map(needs_nft, subject.networks)) else ()),
    )


def judge(subject: Subject, answers: Answers) -> tuple[CheckOutcome, ...]:
    failures = tuple(CheckOutcome("prerequisites", "fail", message) for message in complaints(subject, answers))
    return failures or (CheckOutcome("prerequisites", "pass"),)


def complaints(subject: Subject, answers: Answers) -> Iterator[str]:
    for name, wanted in subject.sysctl:
        found = answers[Question("sysctl", name)].value
        if found is None:
            yield f"sysctl `{name}` does not exist in this kernel"
        elif is_hidden(Live("sysctl", name, wanted)):
            if hidden(" ".join(found.split())) != wanted:
                yield f"sysctl `{name}` is not what is declared"
        elif found.split() != wanted.split():
            yield f"sysctl `{name}` is {found}, {wanted} is declared"
    for name in subject.modules:
        if answers[Question("module", name)].value is None:
            yield f"kernel module `{name}` is not loaded"
    program = answers.get(Question("program", "nft"))
    if program is not None and program.value is None:
        users = ", ".join(f"`{network.name}`" for network in subject.networks if needs_nft(network))
        yield f"`nft` is not installed; networks {users} masquerade or map ports with it"
