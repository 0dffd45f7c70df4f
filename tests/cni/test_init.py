"""What people import, `from cni_provision.cni import Runtime, …`: all of it is there, typed, and loaded on demand."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from cni_provision import cni

SOURCE = Path(cni.__file__)


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    root = SOURCE.parent.parent.parent
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize("name", cni.__all__)
def test_each_name_is_there_under_its_own_name(name: str) -> None:
    assert getattr(cni, name).__name__ == name


def test_type_checkers_see_the_same_names() -> None:
    imported = {
        alias.name
        for statement in ast.walk(ast.parse(SOURCE.read_text()))
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("cni_provision")
        for alias in statement.names
    }
    assert imported == set(cni.__all__) == set(dir(cni))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'cni_provision\.cni' has no attribute 'runtimes'"):
        _ = cni.runtimes  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from cni_provision.cni import Runtimes  # type: ignore[attr-defined]  # noqa: F401


def test_submodules_are_no_names() -> None:
    from cni_provision.cni import config

    assert config.load is cni.load


def test_only_what_is_used_is_loaded() -> None:
    assert {name for name in loaded_by("import cni_provision.cni") if name.startswith("cni_provision.cni.")} == set()
    assert not {"asyncio", "subprocess", "socket"} & loaded_by(
        "from cni_provision.cni import Runtime, Attachment, find"
    )
    assert "asyncio" in loaded_by("from cni_provision.cni import AsyncRuntime")
    skel = loaded_by("import cni_provision.cni.skel")
    assert not {f"cni_provision.cni.{name}" for name in ("config", "cache", "runtime", "invoke", "delegation")} & skel
