"""Ansible in environments of its own, made once and kept below the cache folder: it is needed by tests only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

import pytest

VERSIONS = {"2.16": "ansible-core==2.16.14", "2.19": "ansible-core==2.19.14"}


@cache
def python(version: str) -> Path:
    """The Python of an environment with that ansible-core; skips the test if it cannot be had."""
    return environment(VERSIONS[version])


@cache
def environment(*requirements: str) -> Path:
    """The Python of an environment with these packages; skips the test if they cannot be had."""
    facts = f"{' '.join(requirements)} {sys.version}"
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cached / "cni-provision-tests" / f"ansible-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    if not (folder / "complete").exists():
        venv.create(folder, clear=True, with_pip=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{' '.join(requirements)} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        (folder / "complete").touch()
    return folder / "bin/python"
