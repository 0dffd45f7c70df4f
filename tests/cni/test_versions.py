from __future__ import annotations

from typing import Any

import pytest

from cni_provision.cni import versions
from cni_provision.cni.types import CNIError


def test_parse(case: dict[str, Any]) -> None:
    if case["numbers"] is None:
        with pytest.raises(ValueError, match="is not a version"):
            versions.parse(case["text"])
    else:
        assert versions.parse(case["text"]) == tuple(case["numbers"])


def test_negotiate(case: dict[str, Any]) -> None:
    if "code" in case:
        with pytest.raises(CNIError) as caught:
            versions.negotiate(case["version"], case["alternatives"])
        assert caught.value.code == case["code"]
    else:
        assert versions.negotiate(case["version"], case["alternatives"]) == case["chosen"]


def test_allows(case: dict[str, Any]) -> None:
    assert versions.allows(case["version"], case["verb"]) is case["allowed"]


def test_require(case: dict[str, Any]) -> None:
    if case["code"]:
        with pytest.raises(CNIError, match="incompatible CNI versions") as caught:
            versions.require(case["version"], tuple(case["supported"]))
        assert caught.value.code == case["code"]
        assert case["version"] in caught.value.details
        assert '["0.4.0", "1.0.0"]' in caught.value.details
    else:
        versions.require(case["version"], tuple(case["supported"]))


def test_supported(case: dict[str, Any]) -> None:
    if "code" in case:
        with pytest.raises(CNIError) as caught:
            versions.supported(case["answer"])
        assert caught.value.code == case["code"]
    else:
        assert versions.supported(case["answer"]) == tuple(case["versions"])
