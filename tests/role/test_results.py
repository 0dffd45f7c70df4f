"""What Ansible is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cni_provision.errors import Busy, Diagnostic, Mistakes, Place
from cni_provision.fleet_job import Job
from cni_provision.inventory.model import Connection, Declarations, Node
from cni_provision.node.protocol import CheckOutcome, NodeFinding, Reply, Request
from cni_provision.plan import Change, Live
from cni_provision.role import checked, failure, result

JOB = Job(Node("node-1", (), Connection(), Declarations()), Request("apply"))
CHANGE = Change("sysctl:vm.x", Live("sysctl", "vm.x", "0"), Live("sysctl", "vm.x", "1"))
DONE = Reply(changes=(CHANGE,), applied=True, generation=4)


def told(reply: Reply, job: Job = JOB, **outside: str) -> dict[str, Any]:
    return result(job, reply, outside, diff=True)


def test_a_change() -> None:
    found = told(DONE)
    assert (found["changed"], found["generation"]) == (True, 4)
    assert found["changes"] == [{"path": "sysctl:vm.x", "sign": "~", "kind": "sysctl", "before": "0", "after": "1"}]
    assert found["ansible_facts"]["cni_provision"]["changes"] == found["changes"]
    assert found["diff"] == [{"prepared": "--- node-1/sysctl/vm.x\n+++ node-1/sysctl/vm.x\n@@ -1 +1 @@\n-0\n+1\n"}]
    assert "failed" not in found


def test_nothing_to_do() -> None:
    found = told(Reply(applied=True, generation=4))
    assert not found["changed"]
    assert "diff" not in found


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (replace(DONE, outcomes=(CheckOutcome("gateway", "fail", "no answer", "pods"),), rolled_back=True),
         "gateway: no answer (network `pods`); the node went back to what it was"),
        (replace(DONE, incomplete=True), "generation 4 is incomplete"),
        (Reply(facts={"refused": ["`/x` is not ours"]}), "`/x` is not ours"),
    ],
)  # fmt: skip
def test_a_task_that_fails(reply: Reply, said: str) -> None:
    found = told(reply)
    assert found["failed"]
    assert found["msg"] == said


def test_rolled_back_is_no_change() -> None:
    assert not told(replace(DONE, rolled_back=True))["changed"]


def test_what_changes_nothing_has_not_changed() -> None:
    verifying = replace(JOB, request=Request("verify"))
    assert not told(replace(DONE, applied=False), verifying)["changed"]


def test_findings_are_warnings() -> None:
    found = told(replace(DONE, findings=(NodeFinding("foreign", "there is more", "look"),)), cni_owner="`-e`")
    assert found["findings"][0] == {"code": "foreign", "message": "there is more", "hint": "look"}
    assert found["findings"][1]["message"] == "`cni_owner` does not stand in the inventory but in `-e`"
    assert found["warnings"][0] == "there is more; hint: look"


def test_facts_are_what_the_node_told() -> None:
    asked = replace(JOB, request=Request("plugins"))
    found = told(Reply(generation=4, facts={"plugins": []}), asked)
    assert found["ansible_facts"] == {"cni_provision": {"plugins": [], "generation": 4}}
    assert not found["changed"]


def test_warnings_of_the_declarations() -> None:
    odd = Diagnostic(
        "`cni_networs` is ignored", Place("hosts.yaml", 3, 1), "did you mean `cni_networks`?", severity="warning"
    )
    said = "hosts.yaml:3:1: `cni_networs` is ignored; hint: did you mean `cni_networks`?"
    assert checked([odd]) == {"changed": False, "warnings": [said]}


def test_failures() -> None:
    mistakes = (
        Diagnostic("unknown key `x`", Place("hosts.yaml", 6, 9), "did you mean `y`?"),
        Diagnostic("two of them", None, node="node-1", related=((Place("a", 1, 2), "first here"),)),
    )
    assert failure(Mistakes(mistakes)) == {
        "failed": True,
        "msg": "hosts.yaml:6:9: unknown key `x`; hint: did you mean `y`?\nnode-1: two of them; a:1:2: first here",
    }
    assert failure(Busy("ann holds it")) == {"failed": True, "msg": "ann holds it", "reason": "busy"}
