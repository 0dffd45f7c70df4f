"""`init` writes what `validate` accepts, and never over anything."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_what_it_writes_is_valid(program: Run, folder: Path) -> None:
    assert program("init").returncode == 0
    done = program("validate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "inventory: 2 networks, 3 nodes: valid\n"


def test_it_never_overwrites(program: Run, folder: Path) -> None:
    (folder / "mine/group_vars").mkdir(parents=True)
    (folder / "mine/group_vars/all.yaml").write_text("mine: true\n")
    done = program("init", "mine")
    assert done.returncode == 65
    assert "`mine/group_vars/all.yaml` exists and is left alone" in done.stderr
    assert not (folder / "mine/hosts.yaml").exists()
