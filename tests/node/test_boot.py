"""Which Python the node program gets, and what is said when there is none."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cni_provision.node import boot

OLD = Path.home() / ".pyenv/versions/3.8.18/bin/python3.8"
SAY = "import sys; print(sys.version_info[:2], sys.flags.isolated, sys.flags.no_site)"


def run(python: str | None, path: str, *, bootstrap: str = SAY) -> subprocess.CompletedProcess[str]:
    """The command line with another bootstrap, its words carried through a shell as ssh would."""
    argv = [*boot.argv(python)[:-1], bootstrap]
    line = shlex.join(argv)
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, env={"PATH": path}, input="")


def test_the_named_interpreter_is_used_isolated() -> None:
    done = run(sys.executable, os.defpath)
    assert done.stdout == f"({sys.version_info[0]}, {sys.version_info[1]}) 1 1\n"


def test_without_a_name_one_is_found() -> None:
    assert run(None, os.defpath).returncode == 0


def test_a_named_interpreter_that_is_missing_is_not_replaced() -> None:
    done = run("/no/such/python", os.defpath)
    assert done.returncode == boot.NO_PYTHON_STATUS
    assert done.stderr == f"{boot.NO_PYTHON} (tried /no/such/python)\n"


@pytest.mark.skipif(not OLD.exists(), reason="no Python 3.8 on this machine")
def test_an_old_interpreter_is_refused() -> None:
    done = run(str(OLD), os.defpath)
    assert done.returncode == boot.NO_PYTHON_STATUS
    assert boot.NO_PYTHON in done.stderr


@pytest.mark.root
def test_a_node_without_python(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("busybox not installed")
    shutil.copy(busybox, tmp_path / "sh")
    prepare = f"mount -t tmpfs none /var/lib; mount -t tmpfs none /usr/bin; PATH={tmp_path}; exec"
    line = f"{prepare} {shlex.join(boot.argv())}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", line], capture_output=True, text=True, input="")
    assert (done.returncode, done.stdout) == (boot.NO_PYTHON_STATUS, "")
    assert done.stderr.startswith(boot.NO_PYTHON)
