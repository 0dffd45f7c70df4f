from __future__ import annotations

from typing import Any

import pytest

from cni_provision.cni.outcome import Outcome, raise_failure, result_of
from cni_provision.cni.types import CNIError


def outcome_of(case: dict[str, Any]) -> Outcome:
    return Outcome(case["code"], case["stdout"].encode(), case.get("stderr", ""))


def test_result(case: dict[str, Any]) -> None:
    assert [str(ip.address) for ip in result_of(outcome_of(case), "1.0.0").ips] == case["ips"]


def test_failure(case: dict[str, Any]) -> None:
    code, msg, details = case["error"]
    with pytest.raises(CNIError) as caught:
        result_of(outcome_of(case), "1.0.0")
    assert (caught.value.code, caught.value.details) == (code, details)
    assert msg is None or caught.value.msg == msg


def test_a_verb_without_an_answer_may_print_what_it_likes() -> None:
    raise_failure(Outcome(0, b"done", "log"))
    raise_failure(Outcome(0))


def test_a_long_stderr_is_cut_to_its_end() -> None:
    with pytest.raises(CNIError) as caught:
        raise_failure(Outcome(1, b"", "x" * 100_000 + "the end"))
    assert len(caught.value.msg) < 2100
    assert "the end" in caught.value.msg
