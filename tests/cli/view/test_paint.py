"""`cni_provision.cli.view.paint`."""

from __future__ import annotations

import pytest

from cni_provision.cli.view.paint import Paint, wants_color


@pytest.mark.parametrize(
    ("mode", "environ", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_wants_color(mode: str, environ: dict[str, str], terminal: bool, expected: bool) -> None:
    assert wants_color(mode, environ, terminal=terminal) is expected


def test_without_color_text_is_left_alone() -> None:
    assert Paint()("text", "red") == "text"
    assert Paint(True)("text", "red") == "\033[31mtext\033[0m"
    assert Paint(True).signed("  + added") == "\033[32m  + added\033[0m"
