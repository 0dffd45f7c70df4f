from __future__ import annotations

import pytest

from cni_provision.inventory.ranges import expand


@pytest.mark.parametrize(
    ("pattern", "names", "port"),
    [
        ("node1", "node1", None),
        ("node[1:3]", "node1 node2 node3", None),
        ("node[08:11]", "node08 node09 node10 node11", None),
        ("node[:2]", "node0 node1 node2", None),
        ("node[1:10:4].example.org", "node1.example.org node5.example.org node9.example.org", None),
        ("rack-[a:c]", "rack-a rack-b rack-c", None),
        ("[x:z:2][1:2]", "x1 x2 z1 z2", None),
        ("[z:B]", "z A B", None),
        ("node[1:2]:2222", "node1 node2", 2222),
        ("10.0.0.[1:2]", "10.0.0.1 10.0.0.2", None),
        ("[fd00::1]:22", "fd00::1", 22),
        ("fd00::1", "fd00::1", None),
    ],
)
def test_a_pattern_is_these_hosts(pattern: str, names: str, port: int | None) -> None:
    assert expand(pattern) == (names.split(), port)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("node[1]", "is not `[begin:end]`"),
        ("node[1:]", "has no end"),
        ("node[3:1]", "ends before it begins"),
        ("node[c:a]", "ends before it begins"),
        ("node[01:3]", "not the same length"),
        ("node[1:c]", "neither of numbers nor of letters"),
        ("node[1:3:0]", "the step of the range"),
        ("node[1:3", "without `]`"),
    ],
)
def test_a_range_that_is_none(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]")):
        expand(pattern)
