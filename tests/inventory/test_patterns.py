"""`--limit`: cases/inventory/limits/expected.json says which nodes a pattern selects, in the inventory's order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cni_provision.errors import UserError
from cni_provision.inventory.load import Sources, load

FOLDER = Path(__file__).parent.parent / "cases" / "inventory" / "limits"
EXPECTED: dict[str, str] = json.loads((FOLDER / "expected.json").read_text())


def names(limit: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(FOLDER)
    return " ".join(node.name for node in load(Sources(("hosts.yaml",)), limit).nodes)


@pytest.mark.parametrize("limit", EXPECTED)
def test_limit_selects_what_ansible_selects(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(limit, monkeypatch) == EXPECTED[limit]


@pytest.mark.parametrize(
    ("limit", "message", "hint"),
    [
        ("wbe", "no host or group matches `wbe`", "did you mean `web`?"),
        ("web,nowhere-near", "no host or group matches `nowhere-near`", None),
        ("web[9]", "`web[9]` is out of range: there are 5 hosts, counted from 0", None),
        ("~web(", "`~web(` is no regular expression", None),
        ("@none.txt", "cannot read `none.txt`", None),
        ("web,!web", "the limit `web,!web` selects no host", None),
    ],
)
def test_limit_that_cannot_be_meant(
    limit: str, message: str, hint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as caught:
        names(limit, monkeypatch)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message.startswith(message)
    assert diagnostic.hint == hint
