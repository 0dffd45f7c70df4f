from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cni_provision.cni import skel
from cni_provision.cni.outcome import result_of
from cni_provision.cni.skel import Call, Outcome, Plugin
from cni_provision.cni.types import CNIError, Interface, Result
from cni_provision.cni.versions import ALL_VERSIONS

AsBytes = Callable[[Any], bytes]
MINIMAL = {"cniVersion": "1.1.0", "name": "n", "type": "quiet", "cni.dev/valid-attachments": []}
COMPLETE = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/bin:/sbin"}


def quiet(**functions: Any) -> Plugin:
    """A plugin that does nothing, but for the given functions."""
    return Plugin(**{"name": "quiet", "add": lambda call: Result(), "delete": lambda call: None, **functions})


def seen_by(command: str, config: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Call:
    """The call that a plugin gets."""
    calls: list[Call] = []
    plugin = quiet(**dict.fromkeys(("delete", "status", "gc", "check"), calls.append))
    told = {"CNI_COMMAND": command, **COMPLETE, **(environment or {})}
    outcome = skel.run(plugin, told, json.dumps(config).encode())
    assert outcome == Outcome(0), outcome
    return calls[0]


def test_environment(case: dict[str, Any], as_bytes: AsBytes) -> None:
    check(skel.run(quiet(), case["environment"], as_bytes(MINIMAL)), case)


def test_stdin(case: dict[str, Any], as_bytes: AsBytes) -> None:
    environment = {"CNI_COMMAND": case["command"], "CNI_NETNS": "/absent", **COMPLETE}
    check(skel.run(quiet(), environment, as_bytes(case["stdin"])), case)


def check(outcome: Outcome, case: dict[str, Any]) -> None:
    if not case["code"]:
        assert outcome.code == 0, outcome
        return
    answer = json.loads(outcome.stdout)
    assert (outcome.code, answer["code"]) == (1, case["code"])
    assert answer["msg"] == case.get("msg", answer["msg"]) != ""
    assert answer["cniVersion"] in ALL_VERSIONS


def test_args(case: dict[str, Any]) -> None:
    if case["args"] is None:
        with pytest.raises(CNIError, match="CNI_ARGS must be") as caught:
            skel.parse_args(case["text"])
        assert caught.value.code == 4
    else:
        assert skel.parse_args(case["text"]) == case["args"]


def test_known_args(case: dict[str, Any]) -> None:
    call = seen_by("DEL", MINIMAL, {"CNI_ARGS": case["text"]})
    if "problem" in case:
        with pytest.raises(CNIError) as caught:
            call.known_args("IP", "GATEWAY")
        assert (caught.value.code, caught.value.msg) == (4, case["problem"])
    else:
        assert call.known_args("IP", "GATEWAY") == case["known"]


@given(st.binary(), st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "X"]))
@example(b'{"name":"n","cniVersion":"1.1.0","prevResult":[]}', "CHECK")
def test_any_stdin_gives_json_and_a_code(stdin: bytes, command: str) -> None:
    outcome = skel.run(quiet(), {"CNI_COMMAND": command, "CNI_NETNS": "/absent", **COMPLETE}, stdin)
    answer = json.loads(outcome.stdout) if outcome.stdout else None
    assert outcome.code == 0 or (outcome.code == 1 and answer["code"] in (1, 4, 6, 7, 8))


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
keys = st.sampled_from(["cniVersion", "prevResult", "runtimeConfig", "cni.dev/valid-attachments", "ipam", "name"])


@given(st.dictionaries(keys, json_values), st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS"]))
def test_any_configuration_gives_json_and_a_code(changes: dict[str, Any], command: str) -> None:
    environment = {"CNI_COMMAND": command, "CNI_NETNS": "/absent", **COMPLETE}
    outcome = skel.run(quiet(), environment, json.dumps({**MINIMAL, **changes}).encode())
    assert not outcome.code or json.loads(outcome.stdout)["code"] in (1, 6, 7, 8)


@given(st.text(st.characters(exclude_characters="\0")))
def test_any_environment_gives_json_and_a_code(text: str) -> None:
    for name in (*COMPLETE, "CNI_COMMAND", "CNI_NETNS"):
        environment = {"CNI_COMMAND": "DEL", **COMPLETE, name: text}
        outcome = skel.run(quiet(), environment, json.dumps(MINIMAL).encode())
        assert not outcome.code or json.loads(outcome.stdout)["code"] in (4, 8)


results = st.fixed_dictionaries(
    {},
    optional={
        "cniVersion": st.sampled_from([*ALL_VERSIONS, "", "1.0", "9.0.0"]) | json_values,
        "interfaces": st.lists(st.dictionaries(st.sampled_from(["name", "MAC", "sandbox", "mtu"]), json_values)),
        "ips": st.lists(
            st.fixed_dictionaries(
                {"address": st.sampled_from(["10.0.0.2/24", "fd00::2/64", "10.0.0.2", ""]) | json_values},
                optional={"interface": st.integers(-2, 3) | json_values, "gateway": json_values},
            )
        ),
        "routes": st.lists(st.dictionaries(st.sampled_from(["dst", "gw", "table"]), json_values | st.just("::/0"))),
        "dns": json_values | st.just({"nameservers": ["10.0.0.1"]}),
    },
)


@given(results | json_values, st.sampled_from(ALL_VERSIONS), st.sampled_from(["ADD", "CHECK", "DEL"]))
def test_any_previous_result_gives_a_result_or_an_error(previous: Any, version: str, command: str) -> None:
    """A plugin that hands the previous result on, in a namespace that it is told to take."""
    netns = {"CNI_NETNS": "/proc/self/ns/net", "CNI_NETNS_OVERRIDE": "1"}
    stdin = json.dumps({**MINIMAL, "cniVersion": version, "prevResult": previous}).encode()
    plugin = quiet(add=lambda call: call.prev_result or Result())
    outcome = skel.run(plugin, {"CNI_COMMAND": command, **COMPLETE, **netns}, stdin)
    if outcome.code:
        answer = json.loads(outcome.stdout)
        assert answer["code"] in (1, 6) or answer["msg"] == "cannot convert: no valid IP addresses"
    elif command == "ADD":
        assert result_of(outcome, version).cni_version == version
    else:
        assert outcome.stdout == b""


def test_version_echoes_what_it_was_asked_in() -> None:
    environment = {"CNI_COMMAND": "VERSION"}
    plugin = quiet(versions=("0.4.0", "1.0.0"))
    for stdin, version in ((b'{"cniVersion":"0.4.0"}', "0.4.0"), (b"", "1.1.0"), (b"{", "1.1.0"), (b"[]", "1.1.0")):
        outcome = skel.run(plugin, environment, stdin)
        assert json.loads(outcome.stdout) == {"cniVersion": version, "supportedVersions": ["0.4.0", "1.0.0"]}


def test_about_text_when_a_person_runs_it() -> None:
    outcome = skel.run(quiet(about="A quiet plugin"), {}, b"")
    assert (outcome.code, outcome.stdout) == (0, b"")
    assert outcome.stderr.startswith("A quiet plugin\nCNI protocol versions supported: 0.1.0, ")


def test_an_error_of_the_plugin_is_printed_as_it_is() -> None:
    def fail(call: Call) -> None:
        raise CNIError(101, "no cable", "port 3")

    outcome = skel.run(quiet(status=fail), {"CNI_COMMAND": "STATUS"}, json.dumps(MINIMAL).encode())
    expected = {"cniVersion": "1.1.0", "code": 101, "msg": "no cable", "details": "port 3"}
    assert (outcome.code, json.loads(outcome.stdout), outcome.stderr) == (1, expected, "")


@pytest.mark.parametrize(
    ("error", "msg"),
    [(OSError(16, "Busy", "eth0"), "[Errno 16] Busy: 'eth0'"), (KeyError(), "KeyError"), (SystemExit(3), "3")],
)
def test_any_other_error_is_999(error: BaseException, msg: str) -> None:
    def fail(call: Call) -> None:
        raise error

    environment = {"CNI_COMMAND": "STATUS", "CNI_DEBUG": "1"}
    outcome = skel.run(quiet(status=fail), environment, json.dumps(MINIMAL).encode())
    answer = json.loads(outcome.stdout)
    assert (outcome.code, answer["code"], answer["msg"]) == (1, 999, msg)
    assert "Traceback" in outcome.stderr
    del environment["CNI_DEBUG"]
    assert not skel.run(quiet(status=fail), environment, json.dumps(MINIMAL).encode()).stderr


def test_a_call_has_what_was_told() -> None:
    config = {
        **MINIMAL,
        "prevResult": {"ips": [{"address": "10.0.0.2/24"}]},
        "runtimeConfig": {"MAC": "aa:bb"},
        "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
    }
    call = seen_by("DEL", config, {"CNI_ARGS": "A=1", "CNI_NETNS": "/absent"})
    assert (call.command, call.container_id, call.netns, call.ifname) == ("DEL", "c1", "/absent", "eth0")
    assert (call.args, call.path, call.version, call.netns_fd) == ({"A": "1"}, ("/bin", "/sbin"), "1.1.0", None)
    assert call.prev_result
    assert str(call.prev_result.ips[0].address) == "10.0.0.2/24"
    assert call.runtime_config.text("mac") == "aa:bb"
    assert call.valid_attachments == frozenset()
    assert seen_by("GC", config).valid_attachments == {("c1", "eth0")}
    assert seen_by("GC", config).container_id == ""


def test_a_verb_without_a_function_succeeds() -> None:
    for command in ("GC", "STATUS"):
        told = {"CNI_COMMAND": command, **COMPLETE}
        assert skel.run(quiet(), told, json.dumps(MINIMAL).encode()) == Outcome(0)


@pytest.mark.parametrize(("command", "code"), [("ADD", 8), ("CHECK", 8), ("DEL", 0)])
@pytest.mark.parametrize("kind", ["absent", "file", "folder", "pipe", "other namespace"])
def test_a_namespace_that_is_none(command: str, code: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ns"
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "other namespace":
        path = Path("/proc/self/ns/mnt")
    called: list[Call] = []
    plugin = quiet(add=called.append, check=called.append, delete=called.append)
    environment = {"CNI_COMMAND": command, **COMPLETE, "CNI_NETNS": str(path)}
    outcome = skel.run(plugin, environment, json.dumps(MINIMAL).encode())
    assert (json.loads(outcome.stdout)["code"] if outcome.code else 0) == code
    assert [call.netns_fd for call in called] == ([] if code else [None])


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_the_own_namespace_is_refused_before_the_plugin_runs(command: str) -> None:
    called: list[Call] = []

    def note(call: Call) -> Result:
        called.append(call)
        return Result()

    environment = {"CNI_COMMAND": command, **COMPLETE, "CNI_NETNS": "/proc/self/ns/net"}
    plugin = quiet(add=note, delete=note, check=note)
    outcome = skel.run(plugin, environment, json.dumps(MINIMAL).encode())
    assert (json.loads(outcome.stdout)["code"], called) == (8, [])
    overridden = skel.run(plugin, {**environment, "CNI_NETNS_OVERRIDE": "True"}, json.dumps(MINIMAL).encode())
    assert (overridden.code, len(called)) == (0, 1)


@pytest.mark.root
@pytest.mark.usefixtures("no_new_descriptors")
def test_the_namespace_is_open_during_the_call(netns: str) -> None:
    same: list[bool] = []

    def add(call: Call) -> Result:
        assert call.netns_fd is not None
        same.append(os.path.samestat(os.fstat(call.netns_fd), os.stat(netns)))
        return Result(interfaces=(Interface("eth0", sandbox=call.netns),))

    environment = {"CNI_COMMAND": "ADD", **COMPLETE, "CNI_NETNS": netns}
    outcome = skel.run(quiet(add=add), environment, json.dumps(MINIMAL).encode())
    assert same == [True]
    assert json.loads(outcome.stdout)["interfaces"] == [{"name": "eth0", "sandbox": netns}]
    assert outcome.stdout.startswith(b'{\n    "cniVersion"')
    given = os.open(netns, os.O_RDONLY)
    environment["CNI_NETNS"] = "/only/a/name"
    outcome = skel.run(quiet(add=lambda call: Result()), environment, json.dumps(MINIMAL).encode(), given)
    os.close(given)
    assert outcome.code == 0


@pytest.mark.root
def test_a_result_that_the_version_cannot_hold_is_an_error(netns: str) -> None:
    environment = {"CNI_COMMAND": "ADD", **COMPLETE, "CNI_NETNS": netns}
    outcome = skel.run(quiet(), environment, b'{"cniVersion":"0.2.0","name":"n"}')
    assert json.loads(outcome.stdout)["msg"] == "cannot convert: no valid IP addresses"


def test_delegation_hands_the_call_on_with_another_verb() -> None:
    told: list[tuple[str, str, bytes]] = []

    def execute(plugin_type: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
        told.append((plugin_type, environment["CNI_COMMAND"], stdin))
        assert {**environment, "CNI_COMMAND": ""} == {**COMPLETE, "EXTRA": "x", "CNI_COMMAND": ""}
        return Outcome(0, b'{"ip4":{"ip":"10.0.0.2/24"}}')

    def delete(call: Call) -> None:
        ipam = call.delegate(call.config.mapping("ipam").text("type"))
        result = ipam.add()
        assert (result.cni_version, str(result.ips[0].address)) == ("0.2.0", "10.0.0.2/24")
        for verb in (ipam.delete, ipam.check, ipam.status, ipam.gc):
            verb()

    stdin = b'{ "cniVersion": "0.2.0", "name": "n", "ipam": {"type": "i"} }'
    environment = {"CNI_COMMAND": "DEL", "EXTRA": "x", **COMPLETE}
    assert skel.run(quiet(delete=delete), environment, stdin, None, execute) == Outcome(0)
    assert told == [("i", verb, stdin) for verb in ("ADD", "DEL", "CHECK", "STATUS", "GC")]


def test_a_delegates_error_is_the_plugins() -> None:
    def execute(plugin_type: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
        return Outcome(1, b'{"code": 11, "msg": "pool is full"}')

    plugin = quiet(status=lambda call: call.delegate("i").status())
    outcome = skel.run(plugin, {"CNI_COMMAND": "STATUS"}, json.dumps(MINIMAL).encode(), None, execute)
    assert json.loads(outcome.stdout) == {"cniVersion": "1.1.0", "code": 11, "msg": "pool is full"}


def test_a_type_that_is_a_path_is_no_delegate() -> None:
    plugin = quiet(status=lambda call: call.delegate("../bin/sh").status())
    outcome = skel.run(plugin, {"CNI_COMMAND": "STATUS"}, json.dumps(MINIMAL).encode())
    assert json.loads(outcome.stdout)["code"] == 7


def test_an_unsupported_field_is_code_2() -> None:
    def status(call: Call) -> None:
        raise call.config.unsupported("vlan")

    outcome = skel.run(quiet(status=status), {"CNI_COMMAND": "STATUS"}, json.dumps({**MINIMAL, "vlan": 7}).encode())
    answer = json.loads(outcome.stdout)
    assert (answer["code"], answer["msg"]) == (2, "unsupported field `vlan`: `7`")


PROGRAM = """
import os, sys
from cni_provision.cni.skel import Plugin, main
from cni_provision.cni.types import Result

def delete(call):
    print("a stray print")
    os.system("echo from a child")
    if "ipam" in call.config:
        call.delegate("ipam").delete()

main(Plugin("p", lambda call: Result(), delete, about="P"))
"""


def process(command: str, stdin: Any, **more: Any) -> subprocess.CompletedProcess[bytes]:
    root = Path(__file__).resolve().parent.parent.parent
    environment = {**COMPLETE, "PYTHONPATH": str(root), "CNI_COMMAND": command, **more.pop("environment", {})}
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, timeout=20, **given)


def test_stdout_is_for_json_alone() -> None:
    done = process("DEL", json.dumps(MINIMAL).encode())
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"a stray print" in done.stderr
    assert b"from a child" in done.stderr
    done = process("DEL", b"{")
    assert (done.returncode, json.loads(done.stdout)["code"], done.stderr) == (1, 6, b"")


def test_stdin_that_cannot_be_read_is_code_5() -> None:
    writing = os.open(os.devnull, os.O_WRONLY)
    done = process("DEL", writing)
    os.close(writing)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 5)


def test_a_wrong_environment_is_told_before_stdin_is_read() -> None:
    reading, writing = os.pipe()
    done = process("DEL", reading, environment={"CNI_IFNAME": ""})
    os.close(reading)
    os.close(writing)
    assert json.loads(done.stdout)["msg"] == "required env variables [CNI_IFNAME] missing"


def test_version_does_not_wait_for_a_stdin_that_says_nothing() -> None:
    reading, writing = os.pipe()
    done = process("VERSION", reading)
    os.close(reading)
    os.close(writing)
    assert json.loads(done.stdout)["supportedVersions"] == list(ALL_VERSIONS)


def test_a_delegate_is_found_in_cni_path(script: Callable[[str, str], Path], tmp_path: Path) -> None:
    program = script(
        "ipam", f'echo log >&2; echo "$CNI_COMMAND $CNI_CONTAINERID" > {tmp_path}/seen; cat >> {tmp_path}/seen'
    )
    stdin = json.dumps({**MINIMAL, "ipam": {}}).encode()
    done = process("DEL", stdin, environment={"CNI_PATH": str(program.parent)})
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"log" in done.stderr
    assert (tmp_path / "seen").read_bytes() == b"DEL c1\n" + stdin
    script("ipam", """echo why >&2; echo '{"code":11,"msg":"later"}'; exit 1""")
    done = process("DEL", stdin, environment={"CNI_PATH": str(program.parent)})
    assert (json.loads(done.stdout)["code"], b"why" in done.stderr) == (11, True)
    done = process("DEL", stdin, environment={"CNI_PATH": "/nowhere"})
    assert 'failed to find plugin "ipam" in path [/nowhere]' in json.loads(done.stdout)["msg"]


def test_loads_nothing_heavy() -> None:
    heavy = {"asyncio", "subprocess", "socket", "logging"}
    code = f"import sys, cni_provision.cni.skel; print({heavy} & sys.modules.keys())"
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=True, cwd=root)
    assert done.stdout == b"set()\n"
