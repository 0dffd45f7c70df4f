from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cni_provision.cni import names
from cni_provision.cni.types import CNIError


def code_of(check: Callable[[str], None], text: str) -> int:
    try:
        check(text)
    except CNIError as error:
        return error.code
    return 0


def test_container_id(case: dict[str, Any]) -> None:
    assert code_of(names.check_container_id, case["text"]) == case["code"]


def test_network(case: dict[str, Any]) -> None:
    assert code_of(names.check_network, case["text"]) == case["code"]


def test_ifname(case: dict[str, Any]) -> None:
    assert code_of(names.check_ifname, case["text"]) == case["code"]


def test_plugin(case: dict[str, Any]) -> None:
    assert code_of(names.check_plugin, case["text"]) == case["code"]
