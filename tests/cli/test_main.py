"""The program as a process: exit codes, streams, start-up, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTS, PROGRAM, Run

COMMANDS = (
    "init", "validate", "render", "plan", "diff", "apply", "rollback", "remove", "verify", "status", "exec", "plugin",
    "lab", "completion", "schema",
)  # fmt: skip
BUDGET = 0.150  # seconds
BUDGET_IN_LIBRARIES = 3.6
HEAVY = ("yaml", "jinja2", "pyroute2", "asyncio")


def test_yes_is_0(program: Run) -> None:
    done = program("validate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "hosts.yaml: 1 network, 1 node: valid\n"


def test_a_mistake_is_65(program: Run, folder: Path) -> None:
    hosts = folder / "hosts.yaml"
    hosts.write_text(hosts.read_text().replace("source:", "sourc:"))
    done = program("validate")
    assert (done.returncode, done.stdout) == (65, "")
    assert "hosts.yaml:8:" in done.stderr
    assert "^" in done.stderr


def test_a_missing_inventory_is_65(program: Run) -> None:
    done = program("validate", "-i", "nowhere.yaml")
    assert done.returncode == 65
    assert "nowhere.yaml" in done.stderr


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["plna"], "no such command `plna`", "did you mean `plan`, `plugin`?"),
        (["plan", "--jsn"], "no such option `--jsn`", "did you mean `--json`?"),
        (["apply"], "use `--yes`", ""),
        (["plan", "--forks", "0"], "`--forks`", "`cni-provision plan --help`"),
        (["apply", "nowhere.plan"], "nowhere.plan", "--help"),
        (["apply", "hosts.yaml", "-l", "x", "--yes"], "a plan file has its nodes", ""),
        (["plan", "-K"], "on a terminal", ""),
        (["plan", "--serial", "some"], "`--serial`: `some` is neither", "`25%`"),
        (["plan", "--max-fail", "101%"], "`--max-fail`: `101%` is neither", "`25%`"),
    ],
)
def test_usage_is_64(program: Run, words: list[str], message: str, hint: str) -> None:
    done = program(*words)
    assert (done.returncode, done.stdout) == (64, "")
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_no_inventory_is_64(program: Run, folder: Path) -> None:
    (folder / "hosts.yaml").unlink()
    done = program("validate")
    assert done.returncode == 64
    assert "cni-provision init" in done.stderr


def test_nobody_reachable_is_4(program: Run) -> None:
    done = program("plan")
    assert done.returncode == 4
    assert "1 unreachable (node-1: " in done.stdout
    assert "node-1: unreachable: " in done.stderr


def test_nobody_reachable_is_4_and_a_retry_file(program: Run, folder: Path) -> None:
    done = program("apply", "--yes")
    assert done.returncode == 4
    assert (folder / "hosts.yaml.retry").read_text() == "node-1\n"
    assert "Run `cni-provision apply -l @hosts.yaml.retry`" in done.stderr


def test_where_no_plan_can_be_saved_is_65_before_any_node_is_asked(program: Run) -> None:
    done = program("plan", "--out", "nowhere/saved.plan")
    assert (done.returncode, done.stdout) == (65, "")
    assert "error: `nowhere` is no folder that can be written to" in done.stderr


def test_no_plan_file_is_65(program: Run) -> None:
    done = program("apply", "--yes", "hosts.yaml")
    assert done.returncode == 65
    assert "not a plan file" in done.stderr


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_is_128_and_the_signal(
    folder: Path, environment: dict[str, str], number: signal.Signals, code: int
) -> None:
    with silent_server() as port:
        hosts = HOSTS.format(port=port).replace("node-1:", "node-1:\n    node-2:")
        (folder / "hosts.yaml").write_text(hosts)
        child = subprocess.Popen(
            [PROGRAM, "apply", "--yes", "--json", "--forks", "1", "-e", "ansible_timeout=3"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout
        events = []
        for line in child.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "apply_start":
                break
        child.send_signal(number)
        rest, errors = child.communicate(timeout=30)
    events += [json.loads(line) for line in rest.splitlines()]
    assert child.returncode == code
    assert errors == ""
    assert events[-1]["event"] == "summary"
    assert events[-1]["exit_code"] == code
    # the first one too, unless it had been sent everything by then
    assert events[-1]["not_started"] in (1, 2)
    assert (folder / "hosts.yaml.retry").read_text() == "node-1\nnode-2\n"


def test_json_is_nothing_but_events(program: Run) -> None:
    done = program("plan", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [event["event"] for event in events] == ["version", "selected", "node_failed", "planned", "summary"]
    assert events[-1]["exit_code"] == done.returncode == 4


def test_json_says_mistakes_as_events(program: Run, folder: Path) -> None:
    (folder / "hosts.yaml").write_text("all: [")
    done = program("validate", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in found] == ["version", "diagnostic", "summary"]
    assert found[1]["file"] == "hosts.yaml"
    assert done.returncode == found[-1]["exit_code"] == 65


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_a_pipe_has_no_colour(program: Run, variables: dict[str, str]) -> None:
    done = program("plan", **variables)
    assert "\033" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["plan", "--color", "always"]])
def test_colour_when_asked_for(program: Run, words: list[str]) -> None:
    assert "\033[" in program(*words).stdout
    assert "\033[" in program("plan", FORCE_COLOR="1").stdout


@pytest.mark.parametrize(
    ("words", "redirection", "code", "stderr"),
    [
        ("validate", ">&-", 0, ""),
        ("validate -i nowhere", "2>&-", 65, ""),
        ("validate", ">/dev/full", 1, "error: `<stdout>`: No space left on device"),
        ("validate --json", ">/dev/full", 1, "error: `<stdout>`: No space left on device"),
    ],
)
def test_a_stream_that_takes_nothing(
    folder: Path, environment: dict[str, str], words: str, redirection: str, code: int, stderr: str
) -> None:
    command = ["sh", "-c", f'"$0" {words} {redirection}', PROGRAM]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (code, stderr)


def test_a_closed_pipe_is_quiet(folder: Path, environment: dict[str, str]) -> None:
    child = subprocess.Popen(
        [PROGRAM, "schema"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout
    assert child.stderr
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=30) == 0


def test_a_defect_is_one_line_and_1(program: Run, folder: Path) -> None:
    """A node name that no file name can hold stands for whatever we did not think of."""
    hosts = folder / "hosts.yaml"
    hosts.write_text(hosts.read_text().replace("node-1", "n" * 300))
    done = program("render", "-o", "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Traceback" in program("render", "-o", "out", "--debug").stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(program: Run, command: str) -> None:
    done = program(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.rstrip().rpartition("\n\n")[2]
    assert last.startswith(("Examples:", "Commands:"))
    assert f"cni-provision {command}" in done.stdout


def test_help_lists_every_command(program: Run) -> None:
    text = program("--help").stdout
    assert all(f"  {command} " in text for command in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from cni_provision.cli.main import run
assert run(["--help"]) == 0
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("words", [["--help"], ["validate"]])
def test_starts_at_once(folder: Path, environment: dict[str, str], words: list[str]) -> None:
    """By processor time: the wall time of a machine with nothing else to do. Bytecode is there, as installed.

    A machine that is slow or busy is told by what it needs for the two libraries alone, measured in turn.
    """
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def once(*argv: str) -> float:
        child = subprocess.Popen(argv, cwd=folder, env=kept, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        return used.ru_utime + used.ru_stime

    runs = [(once(PROGRAM, *words), once(sys.executable, "-c", "import click, yaml")) for _ in range(7)]
    best, libraries = (min(column) for column in zip(*runs, strict=True))
    assert best < max(BUDGET, BUDGET_IN_LIBRARIES * libraries)
