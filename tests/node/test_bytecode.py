"""Compiled plugins: exactly those that are wanted, run by the plugins that apply installs, and never in their way."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_provision.artifact import builtin_plugins
from cni_provision.artifact_build import build_plugin
from cni_provision.node import bytecode, paths
from cni_provision.node.bytecode import INDEX, MAIN, digest_of, refresh, sources_in
from tests.node.conftest import Bytes, Node, digest, request
from tests.test_artifact_build import NEW, pythons

OTHERS = [path for version, path in pythons().items() if version in NEW and path != sys.executable]


@pytest.fixture
def loopback(tmp_path: Path) -> str:
    return written(tmp_path / "loopback", built())


def built(addition: str = "", *, beside: Path | None = None) -> bytes:
    """Our loopback as an executable; with an `addition` to its source, which is put into the folder `beside`."""
    source = builtin_plugins()["loopback"]
    if beside:
        changed = beside / source.name
        changed.write_text(source.read_text() + addition)
        source = changed
    return build_plugin(source)


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def digests(*executables: str) -> dict[str, str]:
    return {path: digest(Path(path).read_bytes()) for path in executables}


def test_every_module_is_compiled(loopback: str) -> None:
    sources = sources_in(loopback)
    magic, modules = marshal.loads(bytecode.compiled(sources))
    assert magic == bytecode.MAGIC_NUMBER
    assert modules["cni_provision"][0]
    assert not modules["plugins.loopback"][0]
    assert len(modules) == len([name for name in sources if name != MAIN])


def test_the_main_names_the_digest(loopback: str) -> None:
    sources = sources_in(loopback)
    assert digest_of(sources) in sources[MAIN].decode()


def test_the_digest_depends_on_names_and_bytes_of_modules() -> None:
    found = [
        digest_of(sources)
        for sources in ({"a.py": b"b"}, {"a.py": b"c"}, {"b.py": b"b"}, {"a.py": b"b", "b.py": b""}, {})
    ]
    assert len(set(found)) == len(found)
    assert digest_of({"a.py": b"b", MAIN: b"x", "digests.json": b"{}"}) == found[0]


@pytest.mark.parametrize("line", ["import dataclasses", "from dataclasses import fields", "A = f.__annotations__"])
def test_what_would_miss_what_is_taken_away_is_compiled_as_it_is(line: str) -> None:
    sources = {"a.py": b"from dataclasses import dataclass", "b.py": line.encode()}
    _, modules = marshal.loads(bytecode.compiled(sources))
    assert "dataclasses" in modules["a"][1].co_names


def test_exactly_what_is_wanted_is_there(loopback: str, tmp_path: Path) -> None:
    folder = tmp_path / "bytecode"
    foreign = written(tmp_path / "foreign", b"\x7fELF" * 100)
    refresh(digests(foreign), str(folder))
    assert not folder.exists()
    refresh({**digests(loopback, foreign), str(tmp_path / "absent"): digest(built())}, str(folder))
    first = {each.name for each in folder.iterdir()}
    assert first == {INDEX, f"{digest_of(sources_in(loopback))}-{sys.implementation.cache_tag}"}
    refresh(digests(written(Path(loopback), built("# more\n", beside=tmp_path))), str(folder))
    assert {each.name for each in folder.iterdir()} & first == {INDEX}
    refresh({}, str(folder))
    assert not list(folder.iterdir())


def test_nothing_is_read_where_nothing_changed(loopback: str, tmp_path: Path) -> None:
    folder, wanted = tmp_path / "bytecode", digests(loopback)
    refresh(wanted, str(folder))
    Path(loopback).unlink()
    refresh(wanted, str(folder))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("spoil", "rewritten"),
    [
        (lambda folder: (folder / INDEX).unlink(), True),  # as after an update of what compiles
        (lambda folder: (folder / INDEX).write_bytes(b"{"), True),
        (lambda folder: (folder / "left-over").touch(), False),
    ],
)
def test_what_is_not_whole_is_made_whole(
    loopback: str, tmp_path: Path, spoil: Callable[[Path], object], *, rewritten: bool
) -> None:
    folder = tmp_path / "bytecode"
    refresh(digests(loopback), str(folder))
    before = {each.name: each.stat().st_ino for each in folder.iterdir() if each.name != INDEX}
    spoil(folder)
    refresh(digests(loopback), str(folder))
    after = {each.name: each.stat().st_ino for each in folder.iterdir() if each.name != INDEX}
    assert after.keys() == before.keys()
    assert (after != before) == rewritten


def test_what_was_not_there_is_looked_for_again(loopback: str, tmp_path: Path) -> None:
    folder, late = tmp_path / "bytecode", tmp_path / "late"
    wanted = {**digests(loopback), str(late): digest(built("# late\n", beside=tmp_path))}
    refresh(wanted, str(folder))
    assert len(list(folder.iterdir())) == 2
    late.write_bytes(built("# late\n", beside=tmp_path))
    refresh(wanted, str(folder))
    assert len(list(folder.iterdir())) == 3


def test_a_folder_that_cannot_be_written_is_no_error(loopback: str, tmp_path: Path) -> None:
    written(tmp_path / "file", b"")
    refresh(digests(loopback), str(tmp_path / "file"))


# --- On a node ---


def installed(node: Node, content: bytes, *, python: str = sys.executable) -> None:
    what = Bytes().plugin("loopback", content)
    ended = node.ask(request(what), what.contents, python=python)
    assert ended.status == 0, ended


def runs_compiled(node: Node, *argv: str) -> bool:
    """Whether an installed plugin is run from what was compiled; it answers in any case.

    The traceback of an error names files as they were compiled: in the executable, or in no folder.
    """
    environment = {"PATH": os.defpath, "CNI_COMMAND": "ADD", "CNI_DEBUG": "yes", "CNI_PROVISION_SOCKET": ""}
    done = subprocess.run(
        node.enter([*argv, "/opt/cni/bin/loopback"]), env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, '"code": 4' in done.stdout) == (1, True), done
    assert "cni_provision/cni/skel.py" in done.stderr
    return 'File "cni_provision/cni/skel.py"' in done.stderr


def kept(node: Node) -> dict[str, Path]:
    folder = node.path(paths.BYTECODE)
    return {each.name: each for each in folder.iterdir() if not each.name.startswith("index")}


@pytest.mark.root
def test_apply_compiles_what_it_installs(node: Node, tmp_path: Path) -> None:
    installed(node, built())
    (first,) = kept(node)
    assert runs_compiled(node)
    installed(node, built("# more\n", beside=tmp_path))
    (second,) = kept(node)
    assert second != first
    assert runs_compiled(node)
    assert node.ask(request(Bytes(), prune=("file",))).status == 0
    assert not node.path("/opt/cni/bin/loopback").exists()
    assert not kept(node)


@pytest.mark.root
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(marshal.dumps("text")),
        lambda path: path.write_bytes(marshal.dumps((b"0000", marshal.loads(path.read_bytes())[1]))),
        lambda path: os.chown(path, 65534, 0),
        lambda path: path.chmod(0o666),
        lambda path: path.symlink_to(path.rename(f"{path}.real").name),
    ],
    ids=["gone", "short", "empty", "text", "another magic number", "owner", "mode", "link"],
)
def test_what_root_alone_did_not_write_whole_is_not_used(node: Node, spoil: Callable[[Path], object]) -> None:
    installed(node, built())
    (path,) = kept(node).values()
    spoil(path)
    assert not runs_compiled(node)


@pytest.mark.root
@pytest.mark.skipif(not OTHERS, reason="no second Python on this machine")
@pytest.mark.parametrize("other", OTHERS)
def test_each_python_has_its_own(node: Node, other: str) -> None:
    installed(node, built(), python=other)
    assert runs_compiled(node)
    assert runs_compiled(node, other, "-I", "-S")
    assert not runs_compiled(node, sys.executable, "-I", "-S")


@pytest.mark.root
def test_what_another_python_compiled_is_replaced(node: Node) -> None:
    for python in (*OTHERS[:1], sys.executable):
        installed(node, built(), python=python)
        assert len(kept(node)) == 1
        assert runs_compiled(node)
