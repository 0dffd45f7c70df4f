"""Modules without their types do the same, and import nothing for types."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import pytest

from cni_provision.node.untyped import untyped


def without_types(text: str) -> str:
    tree = ast.parse(text)
    untyped(tree)
    return ast.unparse(tree)


def loaded(text: str) -> Mapping[str, Any]:
    namespace: dict[str, Any] = {"__name__": "subject"}
    exec(compile(without_types(text), "subject.py", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("from __future__ import annotations", "pass"),
        ("from typing import Any\ndef f(a: Any, *b: int, c: int = 1, **d: Any) -> Any:\n    return a",
         "pass\n\ndef f(a, *b, c=1, **d):\n    return a"),
        ("from typing import Union\nAddress = Union[int, str]", "pass\nAddress = None"),
        ("from typing import Optional, TypeVar\nT = TypeVar('T')\nSome = Optional[T]", "pass\nT = None\nSome = None"),
        ("from typing import TypeVar\n_T = TypeVar('_T')", "pass\n_T = None"),
        ("from collections.abc import Mapping\nclass A(Mapping[str, int]):\n    pass",
         "from collections.abc import Mapping\n\nclass A(Mapping):\n    pass"),
        ("from typing import Protocol\nclass A(Protocol):\n    a: int", "pass\n\nclass A:\n    pass"),
        ("from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]):\n    a: int = 1",
         "pass\nT = None\n\nclass A:\n    a = 1"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b", "pass\nimport b"),
        ("from typing import overload\nclass A:\n    @overload\n    def f(self): ...\n    def f(self, a): ...",
         "pass\n\nclass A:\n\n    def f(self, a):\n        ..."),
        ("async def f(a: int) -> int:\n    return a", "async def f(a):\n    return a"),
        ("def f():\n    a: int\n    b: int = 1", "def f():\n    pass\n    b = 1"),
    ],
)  # fmt: skip
def test_types_go(text: str, left: str) -> None:
    assert without_types(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "from typing import cast\na = cast(int, 1)",
        "from typing import Union\nA = Union[int, str]\nprint(A)",
        "from collections.abc import Mapping\nisinstance({}, Mapping)",
        "from typing import Any\n__all__ = ['Any']",
        "import typing",
        "class A(BASES[0]):\n    pass",
        "from os import path",
        "A = path['a']",
    ],
)
def test_what_code_reads_stays(text: str) -> None:
    assert without_types(text) == text


POINT = """
from typing import NamedTuple

class Point(NamedTuple):
    'Text.'

    x: int
    y: int = 2
    z: tuple[int, ...] = ()

    @property
    def sum(self) -> int:
        return self.x + self.y
"""


def test_a_named_tuple_keeps_its_fields_defaults_and_methods() -> None:
    point = loaded(POINT)["Point"]
    assert (point(1), repr(point(1, z=3)), point(x=1, y=3).sum) == ((1, 2, ()), "Point(x=1, y=2, z=3)", 4)
    assert (point.__doc__, point(5)._replace(y=0), hasattr(point(1), "__dict__")) == ("Text.", (5, 0, ()), False)
    with pytest.raises(TypeError):
        point()
