"""The data folders are found from a wheel, an sdist and an editable install, each run from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from cni_provision.artifact import default_cache
from cni_provision.artifact_launcher import COMPILER, TARGETS, launcher

ROOT = Path(__file__).resolve().parent.parent
PROBE = (
    "from cni_provision.data import root; r = root();"
    "print(r, *sorted(p.name for glob in ('templates/*.j2', 'roles/*/meta/*.yml') for p in r.glob(glob)))"
)


def run(*argv: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python_with(folder: Path) -> Path:
    """A virtual environment that sees this one's libraries but not the project itself."""
    venv.create(folder, with_pip=True, system_site_packages=False)
    python = folder / "bin/python"
    site = run(
        sys.executable, "-c", "import jinja2, pathlib; print(pathlib.Path(jinja2.__file__).parents[1])", cwd=ROOT
    )
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip()
    # a .pth line would bring the editable project too: link the libraries one by one instead
    for item in Path(site.strip()).iterdir():
        target = Path(purelib, item.name)
        if not target.exists() and not item.name.startswith(("cni_provision", "_cni_provision", "__editable__")):
            target.symlink_to(item)
    return python


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one wheel and one sdist, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    for target in ("wheel", "sdist"):
        run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=ROOT)
    return folder


def installed(python: Path, what: Path) -> str:
    pip = ("-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check")
    run(python, *pip, "--no-deps", "--no-build-isolation", what, cwd=python.parent)
    return run(python, "-c", PROBE, cwd=python.parent)


def test_wheel_carries_the_folders(built: Path, tmp_path: Path) -> None:
    python = python_with(tmp_path / "venv")
    printed = installed(python, next(built.glob("*.whl")))
    assert "_data" in printed.split()[0]
    assert "bridge.conflist.j2" in printed
    assert "argument_specs.yml" in printed
    assert "cni-provision" in run(python.parent / "cni-provision", "--help", cwd=tmp_path)


def test_sdist_builds_the_same(built: Path, tmp_path: Path) -> None:
    printed = installed(python_with(tmp_path / "venv"), next(built.glob("*.tar.gz")))
    assert "_data" in printed.split()[0]
    assert "bridge.conflist.j2" in printed


def test_one_compiler_is_asked_for_everywhere() -> None:
    """Another version would give other launchers, and two controllers would undo each other's plugins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["build-system"]["requires"], *project["project"]["optional-dependencies"]["dev"]]
    assert {each for each in asked if "ziglang" in each} == {f"ziglang=={COMPILER}"}


def test_a_wheel_without_launchers_is_not_built(tmp_path: Path) -> None:
    nothing = tmp_path / "site/ziglang-0.0.dist-info"
    nothing.mkdir(parents=True)
    (nothing / "METADATA").write_text("Metadata-Version: 2.1\nName: ziglang\nVersion: 0.0\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); from hatchling.cli import hatchling; sys.exit(hatchling())"
    )
    argv = [sys.executable, "-c", code, "build", "-t", "wheel", "-d", str(tmp_path / "dist"), str(tmp_path / "site")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"pip install ziglang=={COMPILER}" in done.stderr
    assert not list(tmp_path.glob("dist/*.whl"))


def test_wheel_and_checkout_have_the_same_launcher(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        carried = {name: wheel.read(f"cni_provision/_data/launchers/{name}") for name in TARGETS}
    assert {name: launcher(name, default_cache()) for name in TARGETS} == carried


def test_editable_install_reads_the_checkout() -> None:
    printed = run(sys.executable, "-c", PROBE, cwd=Path("/"))
    assert printed.split()[0] == str(ROOT)
    assert "bridge.conflist.j2" in printed
