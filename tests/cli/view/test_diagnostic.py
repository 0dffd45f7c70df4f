"""Lines of files beneath a mistake, without the secrets in them."""

from __future__ import annotations

import pytest

from cni_provision.cli.view.diagnostic import draw, masked
from cni_provision.cli.view.paint import Paint
from cni_provision.events import DiagnosticFound


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('parameters: {subnet: x, password: "hunter 2"}', "parameters: {subnet: x, password: ••••••••••}"),
        ("  bgp_password: hunter2  # old", "  bgp_password: •••••••••# old"),
        ("- {apiKey: 'a, b', x: 1}", "- {apiKey: ••••••, x: 1}"),
        ("web-1 token=hunter2", "web-1 token=•••••••"),
        ('  token: "{{ token }}"', '  token: "{{ token }}"'),
        ("  password: !vault |", "  password: !vault |"),
        ("- {name: token, x: 1}", "- {name: token, x: 1}"),
        ("  secrets: [a, b]", "  secrets: [a, b]"),
    ],
)
def test_values_of_keys_that_name_secrets_are_masked(line: str, shown: str) -> None:
    assert masked(line) == shown
    assert len(shown) == len(line), "the caret stays below what it points at"


def test_the_line_of_a_secret_is_not_drawn() -> None:
    found = DiagnosticFound("error", "wrong", "hosts.yaml", 3, 5, hidden=True)
    assert draw(found, lambda file, number: "seal: hunter2", Paint(False)) == ["error: wrong", " --> hosts.yaml:3:5"]
