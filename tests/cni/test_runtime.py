"""Runtime over plugins that are shell scripts: what is called, in which order, and what an error leaves."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import config
from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.protocol import Attachment
from cni_provision.cni.runtime import Execution, Runtime
from cni_provision.cni.types import CNIError

Script = Callable[[str, str], Path]
ANSWER = """echo '{"cniVersion":"%s","ips":[{"address":"10.0.0.%d/24"}]}'"""


def network(version: str = "1.1.0", **more: Any) -> NetworkConfig:
    plugins = [{"type": "first", "capabilities": {"mac": True}}, {"type": "second"}]
    return config.load(json.dumps({"cniVersion": version, "name": "n", "plugins": plugins, **more}).encode())


class Node:
    """A folder of scripts, a runtime over them, and what they were asked."""

    def __init__(self, folder: Path, script: Script) -> None:
        self.calls: list[Execution] = []
        self.results = folder / "cache" / "results"
        self.script = script
        self.runtime = Runtime([str(folder / "bin")], str(folder / "cache"), timeout=10, trace=self.calls.append)
        for number, name in enumerate(("first", "second"), 1):
            script(name, ANSWER % ("1.1.0", number))

    @property
    def asked(self) -> list[str]:
        return [f"{call.command} {call.plugin}" for call in self.calls]

    def told(self, index: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.calls[index].stdin)
        return found

    def fails(self, name: str, code: int = 11) -> None:
        self.script(name, f"""echo '{{"code":{code},"msg":"{name} fails"}}'; exit 1""")


@pytest.fixture
def node(tmp_path: Path, script: Script) -> Node:
    return Node(tmp_path, script)


C1 = Attachment("c1", "/ns", capabilities={"mac": "x"})


def test_add_goes_forward_and_hands_each_result_on(node: Node) -> None:
    result = node.runtime.add(network(), C1)
    assert node.asked == ["ADD first", "ADD second"]
    assert str(result.ips[0].address) == "10.0.0.2/24"
    assert node.told(0) == {"type": "first", "cniVersion": "1.1.0", "name": "n", "runtimeConfig": {"mac": "x"}}
    assert node.told(1)["prevResult"] == {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/24"}]}
    (cached,) = node.runtime.attachments("c1")
    assert (cached.attachment, cached.result, cached.network) == (C1, result, "n")
    assert node.runtime.attachments("c2") == ()


def test_a_failed_add_stops_and_says_whose_it_was(node: Node) -> None:
    node.fails("first", 101)
    with pytest.raises(CNIError) as caught:
        node.runtime.add(network(), C1)
    assert (caught.value.code, caught.value.msg) == (101, 'plugin type="first" name="n" failed (add): first fails')
    assert node.asked == ["ADD first"]
    assert not node.results.exists()


def test_a_failed_add_is_undone_on_demand(node: Node) -> None:
    node.fails("second")
    with pytest.raises(CNIError, match=r"failed \(add\): second fails"):
        node.runtime.add(network(), C1, undo=True)
    assert node.asked == ["ADD first", "ADD second", "DEL second", "DEL first"]


def test_delete_goes_backward_with_the_final_result(node: Node) -> None:
    node.runtime.add(network(), C1)
    node.runtime.delete(network(), C1)
    assert node.asked[2:] == ["DEL second", "DEL first"]
    assert node.told(2)["prevResult"] == node.told(3)["prevResult"]
    assert node.told(3)["prevResult"]["ips"] == [{"address": "10.0.0.2/24"}]
    assert list(node.results.iterdir()) == []


def test_delete_without_a_cached_result(node: Node) -> None:
    node.runtime.delete(network(), Attachment("c1", ""))
    assert node.asked == ["DEL second", "DEL first"]
    assert "prevResult" not in node.told(0)


def test_delete_with_a_broken_cached_result(node: Node) -> None:
    node.runtime.add(network(), C1)
    next(node.results.iterdir()).write_bytes(b"")
    node.runtime.delete(network(), C1)
    assert "prevResult" not in node.told(2)
    assert list(node.results.iterdir()) == []


def test_delete_before_0_4_0_tells_no_result(node: Node, script: Script) -> None:
    for name in ("first", "second"):
        script(name, ANSWER % ("0.3.1", 1))
    node.runtime.add(network("0.3.1"), C1)
    node.runtime.delete(network("0.3.1"), C1)
    assert "prevResult" in node.told(1)
    assert "prevResult" not in node.told(2)


def test_a_failed_delete_stops_and_keeps_the_result(node: Node) -> None:
    node.runtime.add(network(), C1)
    node.fails("second")
    with pytest.raises(CNIError, match=r"failed \(delete\): second fails"):
        node.runtime.delete(network(), C1)
    assert node.asked[2:] == ["DEL second"]
    assert len(list(node.results.iterdir())) == 1


def test_delete_may_go_on_and_tell_all_failures(node: Node) -> None:
    node.fails("first", 100)
    node.fails("second", 11)
    with pytest.raises(CNIError) as caught:
        node.runtime.delete(network(), C1, continue_on_error=True)
    assert node.asked == ["DEL second", "DEL first"]
    assert caught.value.code == 11
    assert caught.value.msg.startswith("2 failures: ")
    assert "second fails" in caught.value.msg
    assert "first fails" in caught.value.msg


def test_check_goes_forward_with_the_final_result(node: Node) -> None:
    node.runtime.add(network(), C1)
    node.runtime.check(network(), C1)
    assert node.asked[2:] == ["CHECK first", "CHECK second"]
    assert node.told(2)["prevResult"]["ips"] == [{"address": "10.0.0.2/24"}]
    node.runtime.check(network(disableCheck=True), C1)
    assert len(node.calls) == 4


def test_check_needs_0_4_0_even_when_it_is_disabled(node: Node) -> None:
    with pytest.raises(CNIError, match="it has no CHECK") as caught:
        node.runtime.check(network("0.3.1", disableCheck=True), C1)
    assert caught.value.code == 1


def test_what_is_not_attached_is_not_checked(node: Node) -> None:
    node.runtime.add(network(), C1)
    node.runtime.delete(network(), C1)
    with pytest.raises(CNIError, match="container `c1` is not attached to network `n`") as caught:
        node.runtime.check(network(), C1)
    assert (caught.value.code, len(node.calls)) == (3, 4)


def test_check_with_a_broken_result_is_an_error(node: Node) -> None:
    node.runtime.add(network(), C1)
    next(node.results.iterdir()).write_bytes(b"{")
    with pytest.raises(CNIError, match="is broken"):
        node.runtime.check(network(), C1)


def test_status_asks_until_one_cannot_serve(node: Node) -> None:
    node.runtime.status(network())
    assert node.asked == ["STATUS first", "STATUS second"]
    assert node.told(0) == {"type": "first", "cniVersion": "1.1.0", "name": "n"}
    node.fails("first", 50)
    with pytest.raises(CNIError, match="first fails") as caught:
        node.runtime.status(network())
    assert (caught.value.code, len(node.calls)) == (50, 3)
    node.runtime.status(network("1.0.0"))
    assert len(node.calls) == 3


def test_gc_deletes_what_is_not_valid_and_asks_every_plugin(node: Node) -> None:
    for container in ("c1", "c2"):
        node.runtime.add(network(), Attachment(container, f"/ns/{container}", args=(("A", container),)))
    other = config.load(b'{"cniVersion":"1.1.0","name":"m","plugins":[{"type":"first"}]}')
    node.runtime.add(other, Attachment("c9", "/ns/c9"))
    del node.calls[:]
    node.runtime.gc(network(), [("c2", "eth0")])
    assert node.asked == ["DEL second", "DEL first", "GC first", "GC second"]
    assert node.told(2)["cni.dev/valid-attachments"] == [{"containerID": "c2", "ifname": "eth0"}]
    assert sorted(one.attachment.container_id for one in node.runtime.attachments()) == ["c2", "c9"]


def test_gc_goes_on_over_failures_and_tells_all(node: Node) -> None:
    for container in ("c1", "c2"):
        node.runtime.add(network(), Attachment(container, "/ns"))
    node.fails("second")
    with pytest.raises(CNIError, match="3 failures"):
        node.runtime.gc(network(), [])
    assert node.asked[4:] == ["DEL second", "DEL second", "GC first", "GC second"]


def test_gc_before_1_1_0_asks_no_plugin(node: Node, script: Script) -> None:
    for name in ("first", "second"):
        script(name, ANSWER % ("1.0.0", 1))
    node.runtime.add(network("1.0.0"), C1)
    node.runtime.gc(network("1.0.0"), ())
    assert node.asked[2:] == ["DEL second", "DEL first"]
    node.runtime.gc(network("1.0.0", disableGC=True), ())
    assert len(node.calls) == 4


@pytest.mark.parametrize("valid", [None, "c1", b"c1", ["c1"], [["c1", "eth0"]], [("c1",)], [("c1", 0)], 5])
def test_gc_takes_nothing_else_for_an_empty_list(node: Node, valid: Any) -> None:
    node.runtime.add(network(), C1)
    with pytest.raises(TypeError):
        node.runtime.gc(network(), valid)
    assert (len(node.runtime.attachments()), node.asked[2:]) == (1, [])


def test_gc_asks_plugins_though_the_cache_cannot_be_read(node: Node) -> None:
    node.results.parent.mkdir()
    node.results.touch()
    with pytest.raises(CNIError, match="cannot read") as caught:
        node.runtime.gc(network(), [("c1", "eth0")])
    assert (caught.value.code, node.asked) == (5, ["GC first", "GC second"])


def test_gc_waits_for_calls_and_calls_wait_for_gc(node: Node, script: Script, tmp_path: Path) -> None:
    busy = f"echo begin $CNI_COMMAND >> {tmp_path}/log; sleep 0.2; echo end $CNI_COMMAND >> {tmp_path}/log"
    script("first", f"{busy}; {ANSWER % ('1.1.0', 1)}")
    alone = config.load(b'{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"first"}]}')
    calls: list[Callable[[], object]] = [
        lambda: node.runtime.add(alone, C1),
        lambda: node.runtime.gc(alone, [C1.key, ("c2", "eth0")]),
        lambda: node.runtime.add(alone, Attachment("c2", "/ns")),
        lambda: node.runtime.gc(alone, [C1.key, ("c2", "eth0")]),
    ]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    log = (tmp_path / "log").read_text().split("\n")[:-1]
    assert len(log) == 8
    for at, line in enumerate(log):
        if line == "begin GC":
            assert log[at + 1] == "end GC"


def test_gc_collects_old_broken_files(node: Node) -> None:
    node.results.mkdir(parents=True)
    for name in ("n-c1-eth0", "n-c2-eth0", "m-c1-eth0"):
        (node.results / name).touch()
    for name in ("n-c1-eth0", "m-c1-eth0"):
        os.utime(node.results / name, (0, 0))
    node.runtime.gc(network(), ())
    assert sorted(path.name for path in node.results.iterdir()) == ["m-c1-eth0", "n-c2-eth0"]


@pytest.mark.parametrize(
    ("answer", "versions"),
    [
        ("""echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'""", ("0.4.0", "1.0.0")),
        ("""echo '{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1""", ("0.1.0",)),
        ("""echo '{"cniVersion":"0.2.0"}'""", ("0.1.0", "0.2.0")),
        (
            'test "$CNI_NETNS$CNI_IFNAME$CNI_PATH" = dummydummydummy && echo \'{"cniVersion":"0.2.0"}\'',
            ("0.1.0", "0.2.0"),
        ),
    ],
)
def test_version(node: Node, script: Script, answer: str, versions: tuple[str, ...]) -> None:
    script("first", answer)
    assert node.runtime.version("first") == versions
    assert node.told(0) == {"cniVersion": "1.1.0"}


def test_version_of_a_plugin_that_fails(node: Node) -> None:
    node.fails("first")
    with pytest.raises(CNIError, match="first fails"):
        node.runtime.version("first")


def test_validate_tells_everything_at_once(node: Node, script: Script) -> None:
    speaks = """echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'"""
    for name in ("first", "second", "ipam"):
        script(name, speaks)
    plugins = [
        {"type": "first", "capabilities": {"mac": True, "ips": True}, "ipam": {"type": "ipam"}},
        {"type": "second"},
    ]
    assert node.runtime.validate(network("1.0.0", plugins=plugins)) == ("ips", "mac")
    plugins = [{"type": "first", "ipam": {"type": "none"}}, {"type": "absent"}]
    with pytest.raises(CNIError) as caught:
        node.runtime.validate(network("1.1.0", plugins=plugins))
    assert caught.value.msg.startswith("3 failures: plugin `first`: incompatible CNI versions")
    assert "plugin `none`: failed to find" in caught.value.msg
    assert "plugin `absent`: failed to find" in caught.value.msg


@pytest.mark.parametrize("verb", ["add", "delete", "check"])
@pytest.mark.parametrize(
    ("attachment", "code"),
    [(Attachment("", "/ns"), 3), (Attachment("a/b", "/ns"), 4), (Attachment("a", "/n", "x:y"), 4)],
)
def test_ids_are_checked_before_anything_runs(node: Node, verb: str, attachment: Attachment, code: int) -> None:
    with pytest.raises(CNIError) as caught:
        getattr(node.runtime, verb)(network(), attachment)
    assert (caught.value.code, node.calls) == (code, [])


def test_one_container_waits_for_itself_and_others_go_on(node: Node, script: Script, tmp_path: Path) -> None:
    own = f"{tmp_path}/$CNI_CONTAINERID"
    mark = f"mkdir {own} || echo twice >> {tmp_path}/twice; sleep 0.1; rmdir {own}"
    for name in ("first", "second"):
        script(name, f"{mark}; {ANSWER % ('1.1.0', 1)}")
    attachments = [Attachment(f"c{number % 8}", "/ns", f"eth{number // 8}") for number in range(32)]
    failures: list[CNIError] = []

    def attach(attachment: Attachment) -> None:
        try:
            node.runtime.add(network(), attachment)
        except CNIError as error:
            failures.append(error)

    threads = [threading.Thread(target=attach, args=(attachment,)) for attachment in attachments]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not (tmp_path / "twice").exists()
    assert len(node.runtime.attachments()) == 32
    assert time.monotonic() - started < 32 * 2 * 0.1


def test_trace_context_reaches_plugins(script: Script, tmp_path: Path) -> None:
    script("first", f'echo "$TRACEPARENT" > {tmp_path}/seen; {ANSWER % ("1.1.0", 1)}')
    environment = {"TRACEPARENT": "00-ab-cd-01", "PATH": "/bin"}
    runtime = Runtime([str(tmp_path / "bin")], str(tmp_path / "cache"), environment=environment)
    runtime.status(config.load(b'{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"first"}]}'))
    assert (tmp_path / "seen").read_text() == "00-ab-cd-01\n"
