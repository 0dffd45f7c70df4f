"""Cases: output of `ssh -G` and what is taken from it (tests/cases/transport/ssh_configuration)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cni_provision.errors import Unreachable
from cni_provision.transport.ssh_configuration import Configuration, Configurations, parse

CASES = sorted((Path(__file__).parent.parent / "cases/transport/ssh_configuration").glob("*.json"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_case(file: Path) -> None:
    case = json.loads(file.read_text())
    assert parse("\n".join(case["text"])) == Configuration(**case["configuration"])


def test_the_users_configuration_is_asked_once_per_command_line(tmp_path: Path) -> None:
    """`Match exec` shows how often."""
    config = tmp_path / "config"
    config.write_text(f'Match host a exec "echo >>{tmp_path}/asked"\n  ConnectTimeout 7\nHost *\n  ProxyJump j,k\n')

    async def ask() -> list[Configuration]:
        configurations = Configurations()
        return [await configurations.of("a", ("-F", str(config), "--", host)) for host in ("a", "b", "a")]

    first, second, third = asyncio.run(ask())
    assert first == third
    assert first.has_connect_timeout
    assert not second.has_connect_timeout
    assert second.hop == "j"
    assert (tmp_path / "asked").read_text() == "\n"


def test_a_configuration_that_ssh_refuses(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Port nowhere\n")
    with pytest.raises(Unreachable, match="configuration"):
        asyncio.run(Configurations().of("a", ("-F", str(tmp_path / "config"), "--", "a")))
