from __future__ import annotations

import json
from typing import Any

import pytest

from cni_provision.cni import config, protocol
from cni_provision.cni.protocol import Attachment
from cni_provision.cni.results import decode_result
from cni_provision.cni.types import CNIError


def test_stdin(case: dict[str, Any]) -> None:
    content = json.dumps({"cniVersion": "1.0.0", "name": "n", "plugins": [case["plugin"]]})
    network = config.load(content.encode())
    told = protocol.stdin(
        network,
        network.plugins[0],
        capabilities=case.get("capabilities"),
        previous=decode_result(case["previous"]) if "previous" in case else None,
        valid=[tuple(key) for key in case["valid"]] if "valid" in case else None,
    )
    assert json.loads(told) == case["told"]


def test_attachment(case: dict[str, Any]) -> None:
    raw = case["attachment"]
    attachment = Attachment(**{**raw, "args": tuple(tuple(pair) for pair in raw.get("args", ()))})
    if case["code"]:
        with pytest.raises(CNIError) as caught:
            protocol.check_attachment(attachment)
        assert caught.value.code == case["code"]
    else:
        protocol.check_attachment(attachment)


def test_the_environment_is_the_callers_with_ours_over_it() -> None:
    base = {"PATH": "/bin", "CNI_ARGS": "STALE=1", "TRACEPARENT": "00-1-2-01"}
    attachment = Attachment("c1", "/ns", "net1", (("A", "1"), ("B", "")))
    assert protocol.environment(base, "ADD", ["/x", "/y"], attachment) == {
        "PATH": "/bin",
        "TRACEPARENT": "00-1-2-01",
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/ns",
        "CNI_IFNAME": "net1",
        "CNI_ARGS": "A=1;B=",
        "CNI_PATH": "/x:/y",
    }


def test_without_an_attachment_its_variables_are_empty() -> None:
    told = protocol.environment({"CNI_NETNS": "/stale"}, "STATUS", ["/x"])
    assert {told[name] for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS")} == {""}
