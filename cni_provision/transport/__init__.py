"""How a node is reached: one module per kind of connection, found by its name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from cni_provision.errors import UserError
from cni_provision.transport import base


def load(kind: str, settings: base.Settings) -> base.Transport:
    """The transport that `ansible_connection: KIND` names; raises `UserError` where there is none."""
    name = f"{__name__}.{kind}"
    found = kind.isidentifier() and name != base.__name__ and find_spec(name)
    made = getattr(import_module(name), "Transport", None) if found else None
    if made is None:
        raise UserError(
            f"there is no connection of kind `{kind}`",
            hint="`ansible_connection` is ssh, local, lab or memory",
        )
    return cast(base.Transport, made(settings))
