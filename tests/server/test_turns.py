from __future__ import annotations

from functools import partial

from cni_provision.server.turns import Turn, Turns

KEY = ("pods", "one", "eth0", "bridge")


class Order:
    """Turns that note when they are started."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.started: list[str] = []

    def take(self, name: str, key: tuple[str, ...] = KEY) -> Turn:
        turn = Turn(key, partial(self.started.append, name))
        if self.turns.take(turn):
            turn.start()
        return turn


def test_one_after_the_other() -> None:
    order = Order()
    first, second, third = (order.take(name) for name in "abc")
    assert order.started == ["a"]
    order.turns.end(first)
    assert order.started == ["a", "b"]
    order.turns.end(second)
    order.turns.end(third)
    assert order.started == ["a", "b", "c"]
    assert not order.turns._queues


def test_other_attachments_do_not_wait() -> None:
    order = Order()
    order.take("a")
    order.take("b", ("pods", "two", "eth0", "bridge"))
    assert order.started == ["a", "b"]


def test_one_that_yields_lets_the_next_one_pass_who_waits_already() -> None:
    order = Order()
    first = order.take("a")
    order.take("b")
    order.turns.let_pass(first)
    assert order.started == ["a", "b"]
    assert not order.turns.settle(first)
    order.turns.end(first)
    order.take("c")
    assert order.started == ["a", "b"]


def test_one_that_yields_lets_the_next_one_pass_who_comes_later() -> None:
    order = Order()
    first = order.take("a")
    order.turns.let_pass(first)
    order.take("b")
    assert order.started == ["a", "b"]
    assert not order.turns.settle(first)


def test_one_that_knows_its_end_again_is_waited_for() -> None:
    order = Order()
    first = order.take("a")
    order.turns.let_pass(first)
    assert order.turns.settle(first)
    order.take("b")
    assert order.started == ["a"]
    order.turns.end(first)
    assert order.started == ["a", "b"]


def test_to_end_twice_is_to_end_once() -> None:
    order = Order()
    first = order.take("a")
    order.take("b")
    order.take("c")
    order.turns.end(first)
    order.turns.end(first)
    order.turns.let_pass(first)
    assert order.started == ["a", "b"]
