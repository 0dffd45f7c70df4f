"""static as a process, beside the reference plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/plugins/static.yaml").read_text())
REFERENCE = Path("/usr/lib/cni/static")
pytestmark = pytest.mark.root
RESULTS = {
    "0.1.0": {"ip4": {"ip": "10.0.0.5/24", "gateway": "10.0.0.1"}, "ip6": {"ip": "fd00::5/64"}, "dns": {}},
    "0.2.0": {"ip4": {"ip": "10.0.0.5/24", "gateway": "10.0.0.1"}, "ip6": {"ip": "fd00::5/64"}, "dns": {}},
    **{
        version: {
            "ips": [
                {"version": "4", "address": "10.0.0.5/24", "gateway": "10.0.0.1"},
                {"version": "6", "address": "fd00::5/64"},
            ],
            "dns": {},
        }
        for version in ("0.3.0", "0.3.1", "0.4.0")
    },
    **{
        version: {"ips": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1"}, {"address": "fd00::5/64"}]}
        for version in ("1.0.0", "1.1.0")
    },
}
TWO = {"addresses": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1"}, {"address": "fd00::5/64"}]}


def config(addressing: dict, **more) -> dict:
    written = {
        "cniVersion": "1.0.0",
        "name": "net",
        "type": "bridge",
        "ipam": {"type": "static", **addressing},
        **more,
    }
    return {key: value for key, value in written.items() if value is not None}


def asked(case: dict) -> tuple[dict, dict]:
    """The configuration of a case, and how it is called."""
    how = {"plugin": "static", "netns": "/run/absent", "args": case.get("args", "")}
    return config(case.get("ipam", {}), **case.get("config", {})), how


def said(result: dict) -> dict:
    """Without what is empty: reference plugins of old print `dns` always."""
    return {key: value for key, value in result.items() if value}


def expected(case: dict) -> dict:
    found = {"cniVersion": case.get("config", {}).get("cniVersion", "1.0.0")}
    return {**found, **{key: case[key] for key in ("ips", "routes", "dns") if key in case}}


@pytest.mark.parametrize("case", [one for one in CASES if "code" not in one], ids=lambda case: case["name"])
@pytest.mark.parametrize("way", WAYS)
def test_given(host, case: dict) -> None:
    wanted, how = asked(case)
    outcome = host.call("ADD", wanted, **how)
    assert (outcome.code, said(outcome.result)) == (0, expected(case))
    assert host.call("DEL", wanted, **how).code == 0


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference plugins are not installed")
@pytest.mark.parametrize("case", [one for one in CASES if "code" not in one], ids=lambda case: case["name"])
def test_the_reference_says_the_same(host, case: dict) -> None:
    wanted, how = asked(case)
    outcome = host.call("ADD", wanted, path=str(REFERENCE.parent), **{**how, "netns": "/proc/1/ns/net"})
    assert (outcome.code, said(outcome.result)) == (0, expected(case))


@pytest.mark.parametrize("case", [one for one in CASES if "code" in one], ids=lambda case: case["name"])
def test_refused(host, case: dict) -> None:
    wanted, how = asked(case)
    outcome = host.call("ADD", wanted, **how)
    assert (outcome.code, outcome.result["code"]) == (1, case["code"]), outcome
    assert case["message"] in outcome.result["msg"]
    if "args" not in case:
        again = host.call("STATUS", {**wanted, "cniVersion": "1.1.0"}, plugin="static")
        assert (again.code == 0) == ("cniVersion" in case.get("config", {}))
    assert host.call("DEL", wanted, **how).code == 0


@pytest.mark.parametrize("version", RESULTS)
def test_each_version(host, version: str) -> None:
    outcome = host.call("ADD", config(TWO, cniVersion=version), plugin="static", netns="/run/absent")
    assert outcome.result == {"cniVersion": version, **RESULTS[version]}


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({}, 0, ""),
        ({"ips": [*TWO["addresses"], {"address": "10.9.9.9/24"}]}, 0, ""),
        ({"ips": TWO["addresses"][:1]}, 100, "static: Failed to match addr fd00::5/64 on interface eth0"),
        ({"ips": [{"address": "10.0.0.5/24"}]}, 100, "static: Failed to match addr 10.0.0.5/24 on interface eth0"),
        (None, 7, "required prevResult missing"),
    ],
)
def test_check(host, change: dict | None, code: int, message: str) -> None:
    previous = {"cniVersion": "1.0.0", "ips": TWO["addresses"], **change} if change is not None else None
    wanted = config(TWO, prevResult=previous)
    outcome = host.call("CHECK", wanted, plugin="static", netns="/proc/1/ns/net")
    assert (outcome.code, (outcome.result or {}).get("code", 0)) == (int(code > 0), code)
    assert (outcome.result or {}).get("msg", "") == message


@pytest.mark.parametrize("verb", ["STATUS", "GC"])
def test_nothing_to_do(host, verb: str) -> None:
    wanted = config(TWO, cniVersion="1.1.0", **{"cni.dev/valid-attachments": []})
    outcome = host.call(verb, wanted, plugin="static")
    assert (outcome.code, outcome.result, outcome.stderr) == (0, None, "")


def test_given_to_a_bridge(host, container, network) -> None:
    """The whole way: delegated ADD, CHECK, STATUS and DEL."""
    ipam = {"type": "static", **TWO, "routes": [{"dst": "0.0.0.0/0"}]}
    wanted = {"cniVersion": "1.1.0", "name": network, "type": "bridge", "ipam": ipam}
    assert host.call("STATUS", wanted).code == 0
    result = host.add(wanted, container)
    assert container.addresses("eth0") == {"10.0.0.5/24", "fd00::5/64"}
    assert [one["gateway"] for one in container.routes("default")] == ["10.0.0.1"]
    assert host.check(wanted, container, result).code == 0
    host.delete(wanted, container)
    assert container.links() == {"lo"}
