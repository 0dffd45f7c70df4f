"""The data folders are found from a wheel, an sdist and an editable install, each run from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROBE = "from cni_provision.data import root; r = root(); print(r, *sorted(p.name for p in r.glob('templates/*.j2')))"


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
    assert "cni-provision" in run(python.parent / "cni-provision", "--help", cwd=tmp_path)


def test_sdist_builds_the_same(built: Path, tmp_path: Path) -> None:
    printed = installed(python_with(tmp_path / "venv"), next(built.glob("*.tar.gz")))
    assert "_data" in printed.split()[0]
    assert "bridge.conflist.j2" in printed


def test_editable_install_reads_the_checkout() -> None:
    printed = run(sys.executable, "-c", PROBE, cwd=Path("/"))
    assert printed.split()[0] == str(ROOT)
    assert "bridge.conflist.j2" in printed
