"""The commands that ask nodes, over real SSH: two lab nodes, and one that is not there.

The tests are steps of one story and run in their order.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cni_provision import lab
from tests.cli.conftest import PROGRAM

pytestmark = [pytest.mark.lab, pytest.mark.root]

LAB = f"cli-test-{os.getpid()}"  # two runs of the tests do not meet
DECLARED = {
    "cni_networks": [
        {
            "name": "pods",
            "template": "bridge",
            "order": 10,
            "parameters": {"bridge": "cni0", "subnet": "10.42.0.0/24"},
        }
    ],
    "cni_verify": {"probe": False},
}
CONFLIST = "/etc/cni/net.d/10-pods.conflist"


@pytest.fixture(scope="module")
def there() -> Iterator[lab.Lab]:
    running = lab.up(2, LAB)
    try:
        yield running
    finally:
        lab.down(LAB)


@pytest.fixture(scope="module")
def folder(there: lab.Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`hosts.yaml` with the two nodes, `three.yaml` with one more that does not exist."""
    folder = tmp_path_factory.mktemp("fleet")
    for name, dead in (("hosts.yaml", False), ("three.yaml", True)):
        inventory = yaml.safe_load(lab.inventory(there, dead=dead))
        inventory["lab"]["vars"] |= DECLARED
        (folder / name).write_text(yaml.safe_dump(inventory))
    return folder


class Program:
    """The program in the story's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CNI_")}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def answering(self, answer: str, *words: str) -> tuple[int, str]:
        """With a person at a terminal who types `answer`: exit code, and all that was on the screen."""
        here, terminal = pty.openpty()
        child = subprocess.Popen(
            [PROGRAM, *words], cwd=self.folder, env=self.environment, stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        os.write(here, answer.encode())
        screen = b"".join(iter(lambda: read_terminal(here), b""))
        os.close(here)
        return child.wait(timeout=60), screen.decode()


def read_terminal(descriptor: int) -> bytes:
    """A terminal whose other end is closed says EIO."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.fixture(scope="module")
def program(folder: Path) -> Program:
    return Program(folder)


def edit(there: lab.Lab, node: str) -> None:
    words = ["sed", "-i", "s/cni0/cni7/", CONFLIST]
    assert subprocess.run(lab.command(there, node, words), check=False).returncode == 0


def test_plan_groups_equal_nodes(program: Program) -> None:
    done = program("plan")
    assert done.returncode == 0
    assert "node-[1-2]  (2 nodes, same changes)" in done.stdout
    assert f"  + {CONFLIST}" in done.stdout
    assert "Run `cni-provision apply` to make it so" in done.stderr


def test_plan_exit_code_is_2_and_saved(program: Program, folder: Path) -> None:
    assert program("plan", "--exit-code", "--out", "first.plan").returncode == 2
    assert (folder / "first.plan").stat().st_mode & 0o777 == 0o600


def test_declined_is_3(program: Program) -> None:
    code, screen = program.answering("n\n", "apply")
    assert code == 3
    assert "Apply on 2 nodes? [y/N]" in screen
    assert "declined, nothing was changed" in screen


def test_all_or_none_changes_nothing_where_one_is_dead(program: Program) -> None:
    done = program("apply", "--yes", "--all-or-none", "-i", "three.yaml")
    assert done.returncode == 4
    assert "no node was changed (`--all-or-none`): dead cannot be" in done.stderr
    assert program("plan", "--exit-code").returncode == 2


def test_the_saved_plan_is_applied(program: Program) -> None:
    done = program("apply", "--yes", "first.plan")
    assert done.returncode == 0
    assert "2 nodes changed" in done.stdout
    assert done.stderr.count("generation 1") == 2


def test_all_or_none_refuses_a_plan_that_is_old_on_one_node(program: Program) -> None:
    done = program("apply", "--yes", "--all-or-none", "first.plan")
    assert done.returncode == 3
    assert "no node was changed (`--all-or-none`): node-[1-2] cannot be" in done.stderr


def test_the_saved_plan_is_refused_the_second_time(program: Program) -> None:
    done = program("apply", "--yes", "first.plan")
    assert done.returncode == 3
    assert "2 conflict" in done.stdout


def test_apply_again_changes_nothing(program: Program) -> None:
    done = program("apply", "--yes")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("0 changes · 2 already right")


def test_no_drift_is_0(program: Program) -> None:
    done = program("diff")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no drift · 2 already right" in done.stderr


def test_drift_is_2_and_nothing_but_a_diff(program: Program, there: lab.Lab) -> None:
    edit(there, "node-2")
    done = program("diff")
    assert done.returncode == 2
    assert done.stdout.startswith(f"--- node-2{CONFLIST}\n+++ node-2{CONFLIST}\n@@ ")
    assert "1 node differs · 1 already right" in done.stderr


def test_drift_and_a_dead_node_is_4(program: Program) -> None:
    done = program("diff", "-i", "three.yaml")
    assert done.returncode == 4
    assert "+++ node-2" in done.stdout
    assert "dead: unreachable: " in done.stderr


def test_status_counts_drift(program: Program) -> None:
    done = program("status", "--json")
    drift = {
        event["node"]: event["drift"]
        for event in map(json.loads, done.stdout.splitlines())
        if event["event"] == "node_status"
    }
    assert drift == {"node-1": 0, "node-2": 1}


def test_verify_is_2_when_a_check_fails(program: Program) -> None:
    done = program("verify")
    assert done.returncode == 2
    assert "1 node fails (node-2)" in done.stdout
    assert "digests" in done.stdout


def test_the_plan_is_shown_and_done_after_yes(program: Program) -> None:
    code, screen = program.answering("y\n", "apply")
    assert code == 0
    assert "Apply on 1 node? [y/N]" in screen
    assert "1 node changed" in screen


def test_one_dead_node_leaves_the_others_whole(program: Program, folder: Path) -> None:
    done = program("apply", "--yes", "-i", "three.yaml")
    assert done.returncode == 4
    assert "2 already right · 1 unreachable" in done.stdout
    assert (folder / "three.yaml.retry").read_text() == "dead\n"
    again = program("apply", "--yes", "-i", "three.yaml", "-l", "@three.yaml.retry")
    assert "already right" not in again.stdout


def test_plugin_list(program: Program) -> None:
    done = program("plugin", "list", "-l", "node-1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "node-1"
    assert "bridge" in done.stdout
    assert "1.1.0" in done.stdout


def test_rollback_names_the_generation(program: Program) -> None:
    done = program("rollback", "--yes", "--to", "0", "-l", "node-1")
    assert done.returncode == 0
    assert f"  - {CONFLIST}" in done.stdout
    missing = program("rollback", "--yes", "--to", "99", "-l", "node-1")
    assert missing.returncode == 3
    assert "99" in missing.stdout


def test_remove(program: Program) -> None:
    assert program("remove", "--yes").returncode == 0
    assert "0 changes" in program("remove", "--yes").stdout


def test_lab_exec_ends_as_the_command_does(program: Program) -> None:
    done = program("lab", "exec", "--name", LAB, "node-1", "--", "sh", "-c", "hostname; exit 7")
    assert (done.returncode, done.stdout) == (7, "node-1\n")
