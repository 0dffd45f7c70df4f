"""Ours against Ansible's: `own` gives the value that Ansible gives or says NeedsAnsible, never another value.

A case of `cases/inventory/differential` is a folder of data. `args` is its command line (`-i hosts.yaml` without it),
`limits.txt` has patterns for `--limit`, `needs.txt` the `node: variable`s that only Ansible has, exactly, and
`since-2.19.txt` those whose value the older Ansible gives another type.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cni_provision.errors import NeedsAnsible, UserError
from cni_provision.inventory.ansible import FOLDER as ACTIONS
from cni_provision.inventory.ansible import QUIET, Question, arguments
from cni_provision.inventory.answer import Answer
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.lazy import plain
from cni_provision.inventory.load import Loading, Sources
from cni_provision.inventory.located import OMIT, Located
from cni_provision.inventory.patterns import select
from cni_provision.inventory.reading import default_paths
from cni_provision.inventory.scope import MAGIC, Fleet
from cni_provision.inventory.settings import read_settings
from cni_provision.inventory.tree import Tree
from cni_provision.programs import run
from tests.inventory import peers

CASES = Path(__file__).parent.parent / "cases" / "inventory" / "differential"
FOLDERS = sorted(path for path in CASES.iterdir() if path.is_dir())
ENVIRONMENT = {"CASE_SUBNET": "10.99.0.0/24", "CASE_EMPTY": ""}
OURS = frozenset({"node_index"})


@dataclass
class Case:
    folder: Path
    paths: tuple[str, ...]
    extra: tuple[str, ...]
    playbook_dir: str | None
    vault_ids: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> Case:
        parser = argparse.ArgumentParser()
        for option in ("-i", "-e", "--vault-id"):
            parser.add_argument(option, action="append", default=[])
        parser.add_argument("--playbook-dir")
        args = folder / "args"
        words = parser.parse_args(shlex.split(args.read_text()) if args.exists() else ["-i", "hosts.yaml"])
        return cls(folder, tuple(words.i), tuple(words.e), words.playbook_dir, tuple(words.vault_id))

    @property
    def limits(self) -> list[str]:
        return self.lines("limits.txt")

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return [line for line in file.read_text().splitlines() if line] if file.exists() else []

    def expected(self, name: str, found: set[str]) -> list[str]:
        """The lines of a file; with CASES_WRITE it is written first if it is not there."""
        if os.environ.get("CASES_WRITE") and found and not (self.folder / name).exists():
            (self.folder / name).write_text("".join(f"{line}\n" for line in sorted(found)))
        return self.lines(name)

    def runs(self, scratch: Path) -> Iterator[dict[str, Any]]:
        """One run for all variables, and one for each limit."""
        with contextlib.chdir(self.folder):
            playbook_dir = self.playbook_dir or read_settings({}, Complaints()).playbook_dir
        question = Question(self.paths, self.extra, playbook_dir, self.vault_ids)
        yield self.run(arguments(question), scratch / self.folder.name)
        for index, limit in enumerate(self.limits):
            inventories = [word for path in self.paths for word in ("-i", path)]
            argv = ["all", *inventories, "--limit", limit, "--list-hosts"]
            yield self.run(argv, scratch / f"{self.folder.name}-limit-{index}")

    def run(self, argv: list[str], name: Path) -> dict[str, Any]:
        return {"folder": str(self.folder), "argv": argv, "output": f"{name}.output", "answer": f"{name}.answer"}

    def own(self, monkeypatch: pytest.MonkeyPatch) -> tuple[Loading, Fleet]:
        """This project's reading of it, in its folder."""
        monkeypatch.chdir(self.folder)
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        loading = Loading(Sources(self.paths, self.extra, playbook_dir=self.playbook_dir), run)
        return loading, loading.fleet(self.paths or default_paths(loading.settings))


@dataclass
class Answers:
    """What one version of Ansible says of every case."""

    version: str
    scratch: Path
    known: dict[str, tuple[Tree, dict[str, dict[str, Located]]]] = field(default_factory=dict)

    def of(self, case: Case) -> tuple[Tree, dict[str, dict[str, Located]]]:
        lines = (self.scratch / f"{case.folder.name}.answer").read_bytes().splitlines()
        printed = (self.scratch / f"{case.folder.name}.output").read_text()
        assert lines, printed
        answer = Answer(Tree())
        answer.read(lines)
        return answer.tree, answer.variables

    def hosts(self, case: Case, index: int) -> list[str]:
        printed = (self.scratch / f"{case.folder.name}-limit-{index}.output").read_text()
        _, found, listed = printed.partition("hosts (")
        return listed.split()[1:] if found else []

    def warned_of_limit(self, case: Case, index: int) -> bool:
        printed = (self.scratch / f"{case.folder.name}-limit-{index}.output").read_text()
        return "Could not match supplied host pattern" in " ".join(printed.split())


@pytest.fixture(scope="module", params=list(peers.VERSIONS))
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    scratch = tmp_path_factory.mktemp("ansible")
    python = peers.python(request.param)
    runs = [run for folder in FOLDERS for run in Case.of(folder).runs(scratch)]
    here = {
        "HOME": str(scratch),
        "ANSIBLE_HOME": str(scratch),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_ACTION_PLUGINS": ACTIONS,
    }
    environment = {**os.environ, **QUIET, **ENVIRONMENT, **here}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    program = [python, Path(__file__).with_name("oracle.py")]
    subprocess.run(program, input=json.dumps(runs), text=True, env=environment, check=True, timeout=300)
    return Answers(request.param, scratch)


def value_of(fleet: Fleet, node: str, name: str) -> object:
    """What `own` makes of a variable: its value, OMIT, NeedsAnsible, or UserError for any other mistake."""
    scope = fleet.scope(node)
    try:
        scope.refuse_sealed()
        return scope.settle(scope.sealed.variables[name]).plain
    except NeedsAnsible:
        return NeedsAnsible
    except UserError:
        return UserError


def theirs(located: Located) -> object:
    if located.dynamic:
        return UserError
    return located.value if located.value is OMIT else plain(located.plain)


def same(first: object, second: object) -> bool:
    """Equal in value, type and order of keys."""
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and (first == second or first != first)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_values_are_those_of_ansible(folder: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(folder)
    tree, variables = answers.of(case)
    loading, fleet = case.own(monkeypatch)
    assert not loading.complaints.errors
    assert list(fleet.hosts) == list(tree.members("all"))
    assert {name: list(hosts) for name, hosts in fleet.groups.items()} == {
        name: list(tree.members(name)) for name in tree.groups
    }
    needs, other, wrong = set(), set(), []
    for node in fleet.hosts:
        own = fleet.scope(node).sealed
        names = own.variables.keys() - MAGIC.keys()
        assert names == variables[node].keys() - OURS or own.places
        for name in names:
            located = variables[node][name]
            ours, ansibles = value_of(fleet, node, name), theirs(located)
            if ours is NeedsAnsible:
                needs.add(f"{node}: {name}")
            elif not same(ours, ansibles):
                other.add(f"{node}: {name}")
                wrong.append(f"{node}: {name}: {ours!r}, but {ansibles!r} ({located.value!r})")
    if answers.version == "2.19":
        assert not wrong
        assert sorted(needs) == case.expected("needs.txt", needs)
    else:
        assert sorted(other) == case.expected("since-2.19.txt", other), "\n".join(wrong)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if Case.of(f).limits], ids=lambda folder: folder.name)
def test_selections_are_those_of_ansible(folder: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(folder)
    loading, _ = case.own(monkeypatch)
    for index, limit in enumerate(case.limits):
        selected, mistake = selection(loading.tree, limit)
        if "matches" in mistake:  # a part that nothing matches; Ansible passes over it with a warning
            assert answers.warned_of_limit(case, index), limit
        else:
            assert selected == answers.hosts(case, index), limit


def selection(tree: Tree, limit: str) -> tuple[list[str], str]:
    """The nodes that a limit selects, and what is wrong with it."""
    try:
        return list(select(tree, limit)), ""
    except UserError as error:
        return [], error.message
