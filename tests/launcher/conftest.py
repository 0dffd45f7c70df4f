"""The launcher with a zip behind it whose Python answers "cold", built once, plainly and with the sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cni_provision import data
from cni_provision.artifact import default_cache
from cni_provision.artifact_build import _shifted, _zip
from cni_provision.artifact_launcher import can_build, launcher, own_architecture

SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-D_GNU_SOURCE")
COLD = b"import sys\nprint('cold', *sys.argv[1:])\nprint(sys.stdin.read(), end='')\nsys.exit(7)\n"


def with_zip(head: bytes) -> bytes:
    return head + _shifted(_zip({"__main__.py": COLD}), len(head))


def sanitized(folder: Path) -> bytes:
    if not shutil.which("clang"):
        pytest.skip("clang not installed")
    source = data.root() / "plugins/launcher/launcher.c"
    target = folder / "sanitized"
    argv = ["clang", *SANITIZED, "-Wno-macro-redefined", "-o", str(target), str(source)]
    subprocess.run(argv, check=True, timeout=120)
    return target.read_bytes()


@pytest.fixture(scope="session", params=["plain", "sanitized"])
def executable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin named `toy`."""
    folder = tmp_path_factory.mktemp("launcher")
    if request.param == "plain":
        if not can_build():
            pytest.skip("ziglang not installed")
        head = launcher(own_architecture(), default_cache())
    else:
        head = sanitized(folder)
    path = folder / "toy"
    path.write_bytes(with_zip(head))
    path.chmod(0o755)
    return path
