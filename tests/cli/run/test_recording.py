"""A program that stands for a plugin is that plugin to whoever runs it, and leaves a record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cli.run import recording
from cni_provision.cli.run.tracing import Recorder, named
from cni_provision.cni.config import load
from cni_provision.cni.runtime import Attachment, Execution, Runtime
from cni_provision.events import Event, Executed


def run(body: str, tmp_path: Path, stdin: bytes = b"") -> tuple[subprocess.CompletedProcess[bytes], dict[str, Any]]:
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    records = tmp_path / "records"
    records.mkdir()
    argv = [sys.executable, "-I", "-S", recording.__file__, str(program), str(records)]
    environment = {**os.environ, "CNI_COMMAND": "ADD"}
    done = subprocess.run(argv, input=stdin, env=environment, capture_output=True, timeout=30, check=False)
    (record,) = records.iterdir()
    return done, json.loads(record.read_text())


def test_streams_and_exit_code_are_the_plugins(tmp_path: Path) -> None:
    done, record = run("cat; printf '\\377\\n' >&2; exit 7", tmp_path, b"\x00\xfe{}")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\x00\xfe{}", b"\xff\n")
    assert (record["code"], record["command"], record["plugin"], record["parent"]) == (7, "ADD", "plugin", "")
    assert record["stdin"] == "\x00\ufffd{}"


def test_so_is_a_signal(tmp_path: Path) -> None:
    done, record = run("kill -TERM $$", tmp_path)
    assert done.returncode == record["code"] == -signal.SIGTERM


def test_a_plugin_that_reads_nothing(tmp_path: Path) -> None:
    done, record = run("exit 0", tmp_path, b"x" * 1_000_000)
    assert done.returncode == record["code"] == 0


@pytest.mark.parametrize(
    ("raw", "types"),
    [
        ({"type": "bridge"}, []),
        ({"type": "bridge", "ipam": {"type": "host-local"}}, ["host-local"]),
        ({"type": "meta", "delegates": [{"type": "a", "ipam": {"type": "b"}}, {"type": "c"}]}, ["a", "b", "c"]),
        ({"type": "x", "a": {"type": 3}, "b": {"type": "../x"}, "c": {"type": ""}, "d": "type"}, []),
    ],
)
def test_names_below_a_plugin(raw: dict[str, Any], types: list[str]) -> None:
    assert list(named(raw)) == types


def test_a_tree_of_delegates(tmp_path: Path) -> None:
    """`outer` executes `middle` from CNI_PATH, and that `inner`; the next call of `outer` has records of its own."""
    for folder in ("real", "bin", "records"):
        (tmp_path / folder).mkdir()
    find = 'for folder in $(echo "$CNI_PATH" | tr : " "); do test -x $folder/{0} && exec $folder/{0}; done'
    bodies = {"outer": find.format("middle"), "middle": find.format("inner"), "inner": "echo '{}'"}
    for name, body in bodies.items():
        (tmp_path / "real" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "real" / name).chmod(0o755)
    events: list[Event] = []
    recorder = Recorder(events.append, tmp_path / "bin", tmp_path / "records")
    outer = {"type": "outer", "a": {"type": "middle", "b": {"type": "inner"}}}
    network = load(json.dumps({"name": "n", "cniVersion": "1.0.0", "plugins": [outer]}).encode())
    recorder.follow(network, (str(tmp_path / "real"),))
    path = [str(tmp_path / "bin"), str(tmp_path / "real")]
    runtime = Runtime(path, str(tmp_path / "cache"), trace=recorder)
    runtime.add(network, Attachment("c", "/x"))
    runtime.delete(network, Attachment("c", "/x"))
    told = [(one.command, one.plugin, one.depth) for one in events if isinstance(one, Executed)]
    tree = [("outer", 0), ("middle", 1), ("inner", 2)]
    assert told == [(verb, *row) for verb in ("ADD", "DEL") for row in tree]


def test_a_plugin_that_cannot_be_executed_is_told(tmp_path: Path) -> None:
    told: list[Execution] = []
    network = load(b'{"name": "n", "plugins": [{"type": "absent"}]}')
    with pytest.raises(Exception, match="failed to find plugin"):
        Runtime([str(tmp_path)], str(tmp_path / "cache"), trace=told.append).add(network, Attachment("c", "/x"))
    assert [(one.plugin, one.outcome.code) for one in told] == [("absent", 127)]
