"""The program as a process, and an inventory to begin with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("cni-provision"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]

HOSTS = """\
all:
  hosts:
    node-1:
  vars:
    ansible_host: 127.0.0.1
    ansible_port: {port}
    cni_plugins:
      - {{name: ours, source: builtin}}
    cni_networks:
      - name: lo
        plugins: [{{type: loopback}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `hosts.yaml`: one node, at a port where nobody listens."""
    (tmp_path / "hosts.yaml").write_text(HOSTS.format(port=1))
    return tmp_path


@pytest.fixture
def environment() -> dict[str, str]:
    """The caller's environment without what changes how the program looks or what it reads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CNI_", "FORCE_", "CLICOLOR"))}
    return {**kept, "COLUMNS": "100"}


@pytest.fixture
def program(folder: Path, environment: dict[str, str]) -> Run:
    """Run the program in the folder; nobody is at its stdin."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *words],
            cwd=folder,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
