"""Plugins as one executable file: the same bytes from every controller, run by every Python that a node may have."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cni_provision.artifact import builtin_plugins
from cni_provision.artifact_build import CARRIED, HEAD, build_plugin
from cni_provision.errors import Place, UserError

ROOT = Path(__file__).resolve().parent.parent


def pythons() -> dict[str, str]:
    """`3.9` → the path of such a Python, for each that is on this machine, the running one included."""
    folders = [*os.get_exec_path(), *(str(path / "bin") for path in Path.home().glob(".pyenv/versions/*"))]
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for folder in folders:
        for minor in range(6, 20):
            path = Path(folder, f"python3.{minor}")
            if path.is_file() and "shims" not in path.parts:
                found.setdefault(f"3.{minor}", str(path))
    return found


def minor(version: str) -> int:
    return int(version.split(".")[1])


NEW = [version for version in pythons() if minor(version) >= 9]
OLD = [version for version in pythons() if minor(version) < 9]
CONTROLLERS = [version for version in NEW if minor(version) >= 11]


@pytest.fixture
def loopback(tmp_path: Path) -> Path:
    path = tmp_path / "loopback"
    path.write_bytes(build_plugin(builtin_plugins()["loopback"]))
    path.chmod(0o755)
    return path


def ask(*argv: str | Path, **environment: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [str(word) for word in argv],
        input=b'{"cniVersion": "1.0.0"}',
        env={"CNI_COMMAND": "VERSION", "PATH": os.defpath} | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that nobody changes meanwhile."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in ("cni_provision", "plugins"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def ours(sources: Path) -> list[str]:
    return digests_by(sys.executable, sources)


def digests_by(python: str, sources: Path) -> list[str]:
    """Of every plugin, with both kinds of heads, and of the server of them, as this Python builds them."""
    code = (
        "import hashlib, pathlib; from cni_provision.artifact_build import HEAD, build_plugin, build_server;"
        "files = sorted(pathlib.Path('plugins').glob('*.py'));"
        "built = [build_plugin(file, head) for file in files for head in (HEAD, b'launcher')];"
        "print(*(hashlib.sha256(each).hexdigest() for each in [*built, build_server(files, {'b': '1', 'a': '2'})]))"
    )
    environment = {"PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [python, "-c", code], cwd=sources, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("version", CONTROLLERS)
def test_every_python_builds_the_same_bytes(version: str, sources: Path, ours: list[str]) -> None:
    assert digests_by(pythons()[version], sources) == ours
    assert len(ours) == 2 * len(list(sources.glob("plugins/*.py"))) + 1


@pytest.mark.parametrize("name", builtin_plugins())
def test_the_zip_is_sorted_stored_and_dated_alike(name: str) -> None:
    content = build_plugin(builtin_plugins()[name])
    archive = zipfile.ZipFile(io.BytesIO(content))
    entries = archive.infolist()
    assert archive.testzip() is None
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.compress_type, entry.date_time) for entry in entries} == {
        (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
    }
    assert content.startswith(HEAD)
    carried = {entry.filename.split("/")[1] for entry in entries if entry.filename.startswith("cni_provision/")}
    assert carried <= {"__init__.py", *CARRIED}


def test_only_what_is_imported_goes_in() -> None:
    names = zipfile.ZipFile(io.BytesIO(build_plugin(builtin_plugins()["host-local"]))).namelist()
    assert "cni_provision/cni/skel.py" in names
    assert "cni_provision/net/lease.py" in names
    assert "cni_provision/net/nft.py" not in names
    assert "cni_provision/cni/runtime.py" not in names


@pytest.mark.parametrize("name", builtin_plugins())
@pytest.mark.parametrize("version", NEW)
def test_every_plugin_answers_version_under_every_python(name: str, version: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(build_plugin(builtin_plugins()[name]))
    code, answer = ask(pythons()[version], "-I", "-S", path)
    assert code == 0
    assert "1.0.0" in answer["supportedVersions"]  # type: ignore[operator]


def test_who_delegates_carries_ipam_and_knows_its_digest() -> None:
    ipam = build_plugin(builtin_plugins()["host-local"])
    bridge = zipfile.ZipFile(io.BytesIO(build_plugin(builtin_plugins()["bridge"])))
    loopback = zipfile.ZipFile(io.BytesIO(build_plugin(builtin_plugins()["loopback"])))
    assert "plugins/host_local.py" in bridge.namelist()
    assert hashlib.sha256(ipam).hexdigest() in bridge.read("__main__.py").decode()
    assert "plugins/host_local.py" not in loopback.namelist()


def test_runs_as_a_file(loopback: Path) -> None:
    code, answer = ask(loopback)
    assert (code, answer["cniVersion"]) == (0, "1.0.0")


@pytest.mark.skipif(not OLD, reason="no Python older than 3.9 on this machine")
def test_an_old_python_answers_with_a_cni_error(loopback: Path) -> None:
    code, answer = ask(pythons()[OLD[0]], "-S", loopback)
    assert code == 1
    assert answer["code"] == 100
    assert "`loopback` needs Python 3.9 or newer" in str(answer["msg"])


@pytest.mark.root
def test_a_node_without_python_answers_with_a_cni_error(loopback: Path, tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("busybox not installed")
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin/sh")
    shutil.copy(loopback, root / "bin/loopback")
    code, answer = ask(shutil.which("chroot") or "/usr/sbin/chroot", root, "/bin/loopback", PATH="/bin")
    assert (code, answer["code"]) == (1, 100)
    assert "no Python on this node" in str(answer["msg"])


def test_the_head_can_be_another_one() -> None:
    built = build_plugin(builtin_plugins()["loopback"], head=b"LAUNCHER" * 100)
    assert built.startswith(b"LAUNCHER")
    assert zipfile.ZipFile(io.BytesIO(built)).testzip() is None


@pytest.mark.parametrize(
    ("line", "message", "place"),
    [
        ("import requests", "nodes do not have the module `requests`", (2, 1)),
        ("def f():\n    from yaml import load", "nodes do not have the module `yaml`", (3, 5)),
        ("from cni_provision import plan", "a plugin cannot import `cni_provision.plan`", (2, 1)),
        ("import cni_provision.node.lock", "a plugin cannot import `cni_provision.node.lock`", (2, 1)),
        ("from cni_provision.cni.nothing import x", "a plugin cannot import `cni_provision.cni.nothing`", (2, 1)),
        ("from . import other", "nodes do not have the module `.`", (2, 1)),
        ("match 1:\n    case 1: pass", "not Python 3.9, which plugins run on", (3, 17)),
    ],
)
def test_what_could_not_run_is_refused_with_its_place(
    tmp_path: Path, line: str, message: str, place: tuple[int, int]
) -> None:
    source = tmp_path / "mine.py"
    source.write_text(f'"""Mine."""\n{line}\n')
    with pytest.raises(UserError) as caught:
        build_plugin(source)
    assert caught.value.message.startswith(message)
    assert caught.value.place == Place(str(source), *place)


def test_imports_for_type_checkers_stay_out(tmp_path: Path) -> None:
    source = tmp_path / "my-own.py"
    source.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import requests\nelse:\n"
        "    from cni_provision.net import sysctl\nfrom cni_provision.cni.skel import Plugin\n"
    )
    names = zipfile.ZipFile(io.BytesIO(build_plugin(source))).namelist()
    assert "plugins/my_own.py" in names
    assert "cni_provision/net/sysctl.py" in names
