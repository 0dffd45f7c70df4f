"""The specification's own example (SPEC, section 1 and appendix): what each plugin is told in ADD, CHECK and DEL.

The data differ from the page in two places: its requests leave out `ipam.routes`, which "pass through unaltered",
and its `prevResult` has no `cniVersion`, which every result has (section 5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cni_provision.cni import Attachment, Outcome, Runtime, config, encode_result

DATA: dict[str, Any] = json.loads((Path(__file__).parent.parent / "cases" / "cni" / "appendix.json").read_text())


def test_operation(case: dict[str, Any], tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []

    def execute(plugin: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
        calls.append({"plugin": plugin, "told": json.loads(stdin)})
        assert (environment["CNI_IFNAME"], environment["CNI_ARGS"]) == ("eth0", "argA=foo")
        assert (environment["CNI_CONTAINERID"], environment["CNI_NETNS"]) == ("blue", "/var/run/netns/blue")
        answers = environment["CNI_COMMAND"] == "ADD"
        return Outcome(0, json.dumps(DATA["answers"][plugin]).encode() if answers else b"")

    network = config.load(json.dumps(DATA["network"]).encode())
    raw = DATA["attachment"]
    attachment = Attachment(**{**raw, "args": tuple(tuple(pair) for pair in raw["args"])})
    runtime = Runtime([], str(tmp_path), execute=execute)
    result = runtime.add(network, attachment)
    assert encode_result(result) == {"cniVersion": "1.1.0", **DATA["answers"]["portmap"]}
    if case["verb"] != "add":
        del calls[:]
        getattr(runtime, case["verb"])(network, attachment)
    assert calls == case["calls"]
