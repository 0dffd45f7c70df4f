"""Texts without the secrets in them."""

from __future__ import annotations

import pytest

from cni_provision.errors import Diagnostic, Place
from cni_provision.inventory.hiding import Hiding, unquoted

LONG = "0123456789abcdef-and-so-on"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`hunter2-hunter2` is no subnet", "`(secret)` is no subnet"),
        ("cannot read /x/hunter2-hunter2/y", "cannot read /x/(secret)/y"),
        ('not `"hunter2-hunter2"`', 'not `"(secret)"`'),
        ("`eu` is short, and `europe` is something else", "`(secret)` is short, and `europe` is something else"),
        ("must be true, not `4711`", "must be true, not `(secret)`"),
        (f"`{LONG[:20]}…` is cut", "`(secret)…` is cut"),
        ('a "quote\\" and a\\nline"', 'a "(secret)"'),
        ("nothing of it", "nothing of it"),
    ],
)
def test_secrets_are_replaced(text: str, shown: str) -> None:
    hiding = Hiding()
    hiding.add({"a": ["hunter2-hunter2", "eu", None, "", True], "b": 4711, "c": LONG, "d": 'quote" and a\nline'})
    assert hiding.hide(text) == shown


def test_all_texts_of_a_diagnostic_are_covered() -> None:
    hiding = Hiding({"hunter2-hunter2"})
    found = Diagnostic(
        "hunter2-hunter2", hint="not hunter2-hunter2", related=((Place("f", 1, 1), "hunter2-hunter2"),)
    )
    assert "hunter2" not in repr(hiding.of(found))
    assert Hiding().of(found) is found


def test_what_a_secret_was_made_into_is_not_quoted() -> None:
    assert unquoted("`aHVudGVyMg==` is neither `x` nor y") == "`(secret)` is neither `(secret)` nor y"
