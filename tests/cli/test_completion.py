"""What a shell is told: scripts, and the names that continue a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script(program: Run, shell: str) -> None:
    done = program("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_CNI_PROVISION_COMPLETE" in done.stdout


@pytest.fixture
def groups(folder: Path) -> None:
    (folder / "hosts.yaml").write_text("all: {children: {web: {hosts: {'web-[1:2]': }}, db: {hosts: {db-1: }}}}")


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("cni-provision pl", ["plan", "plugin"]),
        ("cni-provision plan -l w", ["web", "web-1", "web-2"]),
        ("cni-provision plan -l db,!web-", ["db,!web-1", "db,!web-2"]),
        ("cni-provision render --node d", ["db-1"]),
        ("cni-provision plan -i nowhere.yaml -l w", []),
    ],
)
def test_words(program: Run, words: str, completed: list[str]) -> None:
    done = program(_CNI_PROVISION_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert done.stderr == ""
    assert [line.partition(",")[2] for line in done.stdout.splitlines() if line] == completed
