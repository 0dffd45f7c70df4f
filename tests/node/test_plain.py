"""Dataclasses written out behave as those that `@dataclass` makes."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.node.plain import NotPlain, plain

HEAD = "from __future__ import annotations\nfrom dataclasses import dataclass, field, replace\n"
TAIL = "\n\ndef changed(value, **changes):\n    return replace(value, **changes)\n"
KINDS = (
    "int",
    "int = 7",
    "int = field(default=8)",
    "int = field(default=9, repr=False)",
    "object = field(default_factory=list)",
    "int = field(default=10, compare=False)",
)
VALUES = st.integers(0, 2)


@st.composite
def classes(draw: st.DrawFn) -> str:
    """The text of one dataclass `Subject`: fields a, b, … and perhaps methods of its own."""
    required = draw(st.integers(0, 2))
    optional = draw(st.lists(st.sampled_from(KINDS[1:]), min_size=0 if required else 1, max_size=3))
    options = {name: draw(st.booleans()) for name in ("frozen", "order", "repr")}
    options["eq"] = options["order"] or draw(st.booleans())
    extra = draw(st.sets(st.sampled_from(["def __repr__(self):\n        return 'own'",
                                          "def __hash__(self):\n        return 1",
                                          "def __post_init__(self):\n        object.__setattr__(self, 'more', 1)",
                                          "@property\n    def double(self):\n        return self.a"])))  # fmt: skip
    kinds = [KINDS[0]] * required + optional
    fields = [f"    {name}: {kind}\n" for name, kind in zip("abcdef", kinds)]
    return (
        f"@dataclass({', '.join(f'{name}={value}' for name, value in options.items())})\n"
        f"class Subject:\n    '''Text.'''\n\n{''.join(fields)}" + "".join(f"\n    {each}\n" for each in sorted(extra))
    )


def loaded(text: str, change: Callable[[ast.Module], object] = lambda _: None) -> Mapping[str, Any]:
    tree = ast.parse(text)
    change(tree)
    namespace: dict[str, Any] = {"__name__": "subject"}
    exec(compile(tree, "subject.py", "exec", dont_inherit=True), namespace)
    return namespace


def outcome(do: Callable[[], object]) -> object:
    """What it returns, or the kind of its failure and, for a frozen one, its words."""
    try:
        return do()
    except dataclasses.FrozenInstanceError as error:
        return type(error), str(error)
    except (TypeError, AttributeError) as error:
        return type(error)


def seen(module: Mapping[str, Any], first: tuple[int, ...], second: dict[str, int], change: dict[str, int]) -> object:
    """All that one can see of two values made with these arguments."""
    subject = module["Subject"]
    one, two = outcome(lambda: subject(*first)), outcome(lambda: subject(**second))
    found: list[object] = [subject.__doc__, hasattr(subject, "a"), hasattr(subject, "b"), hasattr(subject, "c")]
    for value in (one, two):
        if isinstance(value, subject):
            found += [repr(value), vars(value), outcome(partial(hash, value))]
            found += [outcome(partial(setattr, value, name, 5)) for name in ("a", "other")]
            found += [outcome(partial(delattr, value, name)) for name in ("b", "other", "none")]
            changed = outcome(partial(module["changed"], value, **change))
            found.append(vars(changed) if isinstance(changed, subject) else changed)
    comparisons = (lambda: one == two, lambda: one < two, lambda: one >= two, lambda: one == 1)  # type: ignore
    return [*found, *map(outcome, comparisons), subject.__hash__ is None]


@given(
    classes(),
    st.lists(VALUES, max_size=6),
    st.dictionaries(st.sampled_from("abcdef"), VALUES, min_size=1),
    st.dictionaries(st.sampled_from("abz"), VALUES, max_size=2),
)
def test_written_out_it_behaves_the_same(
    text: str, first: list[int], second: dict[str, int], change: dict[str, int]
) -> None:
    source = HEAD + text + TAIL
    expected = outcome(lambda: loaded(source))
    if not isinstance(expected, dict):  # dataclasses refuse some, as a hash of their own beside a made one
        return
    assert seen(loaded(source, plain), tuple(first), second, change) == seen(expected, tuple(first), second, change)


def test_each_value_has_its_own_default() -> None:
    module = loaded(HEAD + "@dataclass\nclass Subject:\n    a: list = field(default_factory=list)\n", plain)
    module["Subject"]().a.append(1)
    assert module["Subject"]().a == []


def test_nothing_of_it_is_imported() -> None:
    tree = ast.parse(HEAD + "@dataclass(frozen=True)\nclass Subject:\n    a: int = 1\n")
    plain(tree)
    assert "from dataclasses" not in ast.unparse(tree)


@pytest.mark.parametrize(
    "text",
    [
        "import dataclasses\n",
        "from dataclasses import fields\n",
        "from dataclasses import dataclass as value\n",
        HEAD + "change = replace\n",
        HEAD + "def f(replace): pass\n",
        HEAD + "@dataclass(slots=True)\nclass Subject:\n    a: int\n",
        HEAD + "@dataclass(**{'frozen': True})\nclass Subject:\n    a: int\n",
        HEAD + "@dataclass(frozen=FROZEN)\nclass Subject:\n    a: int\n",
        HEAD + "@dataclass\nclass Subject(Base):\n    a: int\n",
        HEAD + "@other\n@dataclass\nclass Subject:\n    a: int\n",
        HEAD + "@dataclass\nclass Subject:\n    a: ClassVar[int] = 1\n",
        HEAD + "@dataclass\nclass Subject:\n    a: int = field(default=1, init=False)\n",
        HEAD + "@dataclass\nclass Subject:\n    object: int\n",
        HEAD + "@dataclass\nclass Subject:\n    __a: int\n",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(NotPlain):
        plain(ast.parse(text))
