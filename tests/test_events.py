"""`cni_provision.events`: what is printed can be read again."""

from __future__ import annotations

import json

import pytest

from cni_provision import events


def test_round_trip() -> None:
    event = events.NodeFailed("n1", "busy", "locked by ada", seconds=0.5)
    assert event.to_json() == {
        "v": 1, "event": "node_failed", "node": "n1", "reason": "busy", "message": "locked by ada", "seconds": 0.5,
    }  # fmt: skip
    assert events.from_json(json.loads(json.dumps(event.to_json()))) == event


def test_names_are_unique() -> None:
    kinds = events.Event.__subclasses__()
    assert len({kind.name for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    "plain", [{}, {"v": 1, "event": "unheard of"}, {"v": 2, "event": "progress", "message": "x"}]
)
def test_anything_else_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an event of format 1"):
        events.from_json(plain)
