from __future__ import annotations

import errno

import pytest

from cni_provision.net import iptables
from cni_provision.net.iptables import Draft, IptablesError

THERE = {"FORWARD": ["-j MINE"], "MINE": ['-s 10.0.0.2/32 -m comment --comment "of \\"a\\"" -j ACCEPT', "-j RETURN"]}
PLANS = {
    "nothing that is there": (lambda draft: draft.ensure("MINE", "-j RETURN"), ""),
    "a comment of other words": (lambda draft: draft.ensure("MINE", "-s 10.0.0.2/32 -j ACCEPT"), ""),
    "a new chain and its rules, in order": (
        lambda draft: [draft.ensure("NEW", "-j RETURN"), draft.ensure("NEW", "-j DROP", first=True)],
        ":NEW - [0:0]\n-A NEW -j RETURN\n-I NEW 1 -j DROP\n",
    ),
    "a built-in chain is not made": (lambda draft: draft.ensure("INPUT", "-j NEW"), "-A INPUT -j NEW\n"),
    "a chain filled anew": (lambda draft: draft.fill("MINE", ["-j DROP"]), ":MINE - [0:0]\n-A MINE -j DROP\n"),
    "rules that go": (lambda draft: draft.remove("MINE", lambda rule: "RETURN" in rule), "-D MINE -j RETURN\n"),
    "a chain that goes with the jumps to it": (
        lambda draft: draft.drop("MINE", "FORWARD", "INPUT"),
        "-D FORWARD -j MINE\n-F MINE\n-X MINE\n",
    ),
    "a chain that is not there": (lambda draft: draft.drop("OTHER", "FORWARD"), ""),
}


@pytest.mark.parametrize(("plan", "script"), PLANS.values(), ids=PLANS)
def test_drafts(plan, script: str) -> None:
    draft = Draft("nat", THERE)
    plan(draft)
    assert draft.script() == (f"*nat\n{script}COMMIT\n" if script else "")


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ("plain", '--comment "plain"'),
        ('name: "a" id: "b"', '--comment "name: \\"a\\" id: \\"b\\""'),
        ("x" * 300, f'--comment "{"x" * 252}..."'),
    ],
)
def test_comments(comment: str, text: str) -> None:
    assert iptables.quoted(comment) == text


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_what_is_written_is_listed(inside, version: int) -> None:
    host = {4: "10.0.0.2/32", 6: "fd00::2/128"}[version]
    comment = iptables.quoted('name: "a" id: "b"')
    rule = f"-s {host} -m comment {comment} -j ACCEPT"

    def plan(draft: Draft) -> None:
        draft.ensure("FORWARD", "-j MINE", first=True)
        draft.ensure("MINE", rule)

    assert not iptables.may_have(version, "filter", ["MINE"])
    for _ in range(2):
        iptables.change(version, "filter", plan)
        there = iptables.listing(version, "filter")
        assert (there["FORWARD"], there["MINE"]) == (["-j MINE"], [rule])
    assert iptables.may_have(version, "filter", ["OTHER", "MINE"])
    iptables.change(version, "filter", lambda draft: draft.drop("MINE", "FORWARD"))
    assert "MINE" not in iptables.listing(version, "filter")


@pytest.mark.root
def test_a_refused_transaction_changes_nothing_and_says_its_line(inside) -> None:
    def plan(draft: Draft) -> None:
        draft.ensure("MINE", "-j RETURN")
        draft.ensure("MINE", "-j NOWHERE")

    with pytest.raises(IptablesError) as caught:
        iptables.change(4, "filter", plan)
    assert caught.value.errno == errno.EINVAL
    assert "NOWHERE" in str(caught.value)
    assert "MINE" not in iptables.listing(4, "filter")


@pytest.mark.root
def test_what_forward_drops(inside) -> None:
    assert not iptables.drops_forwarded()
    iptables.restore(4, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n")
    assert iptables.drops_forwarded()
