"""`cni_provision.cli.view.names`."""

from __future__ import annotations

import pytest

from cni_provision.cli.view.names import fold


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        (["web-01"], "web-01"),
        (["web-01", "web-02", "web-03"], "web-[01-03]"),
        (["web-1", "web-2", "web-4"], "web-[1-2,4]"),
        (["web-9", "web-10", "web-11"], "web-[9-11]"),
        (["web-09", "web-10"], "web-[09-10]"),
        (["web-9", "web-010"], "web-[9,010]"),
        (["db", "web-1", "web-2", "cache"], "db, web-[1-2], cache"),
        (["dc1-web-01", "dc1-web-02"], "dc1-web-[01-02]"),
        (["web-1.example2.net", "web-2.example2.net"], "web-[1-2].example2.net"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]"),
        (["a", "a"], "a"),
        ([], ""),
    ],
)
def test_fold(names: list[str], folded: str) -> None:
    assert fold(names) == folded
