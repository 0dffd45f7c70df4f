"""Mistakes at places where secrets stand: what is told of them, in text and as events, and with tracebacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cni_provision.cli.main import run
from tests.traced import Canary

CASE = Path(__file__).parent.parent / "cases" / "canary"
MISTAKES = (CASE / "mistakes.yaml").read_text().split("---\n")
TOKEN, TYPED = Canary("token", "canary-env-7f3a91c2e4"), Canary("typed", "canary typed 3e91d07a55")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The inventory of the canary's life, with one node."""
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "hosts.yaml").write_text("wrong: {hosts: {n1: }}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANARY_TOKEN", TOKEN.value)
    monkeypatch.setenv("CANARY_KEY", "c0ffee01-5eed5eed-0badcafe-7f3a91c2")
    return tmp_path


@pytest.mark.parametrize("text", MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_does_not_tell_the_secret(text: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "group_vars" / "wrong.yaml").write_text(text)
    codes = {run(["validate", *words]) for words in ((), ("--json", "-v"), ("--debug",))}
    said = "".join(capfd.readouterr())
    print(said)
    assert codes == {65}
    assert not TOKEN.seen_in(said.encode())
    assert not TYPED.seen_in(said.encode())
    assert "Error:" not in said
