"""Transports by the name of their module."""

from __future__ import annotations

import pytest

from cni_provision.errors import UserError
from cni_provision.transport import lab, load, local, memory, ssh
from cni_provision.transport.base import Settings


@pytest.mark.parametrize("module", [ssh, local, lab, memory], ids=lambda module: module.__name__)
def test_is_the_module_of_that_name(module: object) -> None:
    name = str(module.__name__).rpartition(".")[2]
    assert type(load(name, Settings())) is module.Transport


@pytest.mark.parametrize("kind", ["winrm", "base", "become", "ssh.Transport", "", "../x"])
def test_anything_else_is_the_users_mistake(kind: str) -> None:
    with pytest.raises(UserError, match=f"no connection of kind `{kind}`"):
        load(kind, Settings())
