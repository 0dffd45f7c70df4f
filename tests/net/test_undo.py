from __future__ import annotations

import pytest

from cni_provision.net.undo import Undo


def test_what_was_done_is_taken_back_last_first() -> None:
    done: list[str] = []
    with pytest.raises(KeyError, match="why"), Undo() as undo:
        undo.later(done.append, "first")
        undo.later(done.append, "second")
        raise KeyError("why")
    assert done == ["second", "first"]


def test_what_is_kept_stays() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.later(done.append, "first")
        undo.keep()
    assert done == []


def test_leaving_without_keeping_takes_back() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.later(done.append, "first")
    assert done == ["first"]


def test_a_failure_to_take_back_does_not_hide_why() -> None:
    done: list[str] = []
    with pytest.raises(KeyError, match="why"), Undo() as undo:
        undo.later(done.append, "first")
        undo.later(done.index, "absent")
        raise KeyError("why")
    assert done == ["first"]
