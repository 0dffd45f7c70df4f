"""Dataclasses as the plain classes that they stand for: on the syntax tree, what `@dataclass` writes when it runs.

A plugin without a server pays for each import at every call: `dataclasses` takes 11 ms and each class a third of one.
What is not understood is refused with `NotPlain`. `dataclasses.replace` becomes the method `__replace__`, as Python
3.13 calls it; `fields`, `asdict` and annotations are not there any more.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

NAMES = {"dataclass", "field", "replace"}
OPTIONS = {"frozen", "order", "eq", "repr"}
TAKEN = {"self", "object"}  # by the text below, where a field would hide them

FROZEN = """
def __setattr__(self, name, value):
    if type(self) is __class__ or name in {names}:
        import dataclasses
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {{name!r}}")
    super().__setattr__(name, value)
def __delattr__(self, name):
    if type(self) is __class__ or name in {names}:
        import dataclasses
        raise dataclasses.FrozenInstanceError(f"cannot delete field {{name!r}}")
    super().__delattr__(name)
"""
COMPARED = """
def {method}(self, other):
    if other.__class__ is self.__class__:
        return ({own}) {sign} ({others})
    return NotImplemented
"""
ORDER = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}


class NotPlain(ValueError):
    """A use of dataclasses that this module does not know."""


@dataclass(frozen=True)
class _Field:
    """`factory` is called where nothing is given; `default` says that the class has a value of that name."""

    name: str
    default: bool = False
    factory: Optional[ast.expr] = None
    shown: bool = True
    compared: bool = True


def plain(tree: ast.Module) -> None:
    """Change the module; raises `NotPlain`, and then it is half changed."""
    if any(isinstance(node, ast.Import) and node.names[0].name == "dataclasses" for node in ast.walk(tree)):
        raise NotPlain("`import dataclasses`")
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"]
    names = {alias.name: alias.asname for node in imported for alias in node.names}
    if not names.keys() <= NAMES or any(names.values()):
        raise NotPlain(f"import of {', '.join(names)}")
    if names:
        _Plain(frozenset(names)).visit(tree)
        ast.fix_missing_locations(tree)


class _Plain(ast.NodeTransformer):
    """`names` are those of `dataclasses` in this module, which mean nothing else in it."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return ast.Pass() if node.module == "dataclasses" else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        marks = [mark for mark in node.decorator_list if _name(mark) == "dataclass" and "dataclass" in self.names]
        if marks:
            _lower(node, _options(node, marks[0]))
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if isinstance(node.func, ast.Name) and node.func.id == "replace" and "replace" in self.names and node.args:
            subject, *others = node.args
            node.func, node.args = ast.Attribute(subject, "__replace__", ast.Load()), others
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self.names:
            raise NotPlain(f"`{node.id}` in line {node.lineno}")
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if node.arg in self.names:
            raise NotPlain(f"a parameter `{node.arg}`")
        return node


def _name(node: ast.expr) -> str:
    """The name that a decorator or a value calls, or is; else nothing."""
    called = node.func if isinstance(node, ast.Call) else node
    return called.id if isinstance(called, ast.Name) else ""


def _options(node: ast.ClassDef, mark: ast.expr) -> dict[str, bool]:
    given = {word.arg: word.value for word in mark.keywords} if isinstance(mark, ast.Call) else {}
    values = {name or "": bool(value.value) for name, value in given.items() if isinstance(value, ast.Constant)}
    if node.bases or node.keywords or len(node.decorator_list) > 1 or not values.keys() <= OPTIONS:
        raise NotPlain(f"the dataclass `{node.name}`")
    if len(values) < len(given) or (isinstance(mark, ast.Call) and mark.args):
        raise NotPlain(f"what the dataclass `{node.name}` is told")
    return {"frozen": False, "order": False, "eq": True, "repr": True, **values}


def _lower(node: ast.ClassDef, options: dict[str, bool]) -> None:
    """Fields become class attributes where they have a default, and methods follow that the body does not have."""
    fields: list[_Field] = []
    body: list[ast.stmt] = []
    own = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    for statement in node.body:
        body += _without_field(statement, fields)
    text = "".join(_methods(fields, options, own))
    written = [each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef) and each.name not in own]
    for each in written:
        ast.increment_lineno(each, node.lineno - each.lineno)
    node.decorator_list, node.body = [], [*body, *written]
    if options["eq"] and not options["frozen"] and "__hash__" not in own:
        node.body += ast.parse("__hash__ = None").body


def _without_field(statement: ast.stmt, fields: list[_Field]) -> list[ast.stmt]:
    """What is left of a statement in the class; adds to `fields`."""
    if not isinstance(statement, ast.AnnAssign):
        return [statement]
    name = statement.target.id if isinstance(statement.target, ast.Name) else ""
    kind = ast.unparse(statement.annotation)
    if name in TAKEN or name.startswith("__") or not name or any(word in kind for word in ("ClassVar", "InitVar")):
        raise NotPlain(f"the field `{name}: {kind}`")
    value = statement.value
    given = {}
    if value is not None and _name(value) == "field" and isinstance(value, ast.Call):
        given = {word.arg or "": word.value for word in value.keywords}
        value = given.pop("default", None)
    fields.append(_field(name, value, given))
    return [ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), statement)] if value else []


def _field(name: str, value: Optional[ast.expr], given: dict[str, ast.expr]) -> _Field:
    factory = given.pop("default_factory", None)
    flags = {word: bool(flag.value) for word, flag in given.items() if isinstance(flag, ast.Constant)}
    if len(flags) < len(given) or not flags.keys() <= {"repr", "compare"}:
        raise NotPlain(f"the field `{name}`")
    return _Field(name, value is not None, factory, flags.get("repr", True), flags.get("compare", True))


def _methods(fields: Sequence[_Field], options: dict[str, bool], own: set[str]) -> Iterator[str]:
    """The text of all methods that the options ask for."""
    compared = [each.name for each in fields if each.compared]
    if not fields:
        raise NotPlain("a dataclass without fields")
    yield _init(fields, frozen=options["frozen"], then="__post_init__" in own)
    yield f"def __replace__(self, /, **changes):\n return self.__class__(**{{{_pairs(fields)}, **changes}})\n"
    if options["repr"]:
        shown = ", ".join(f"{each.name}={{self.{each.name}!r}}" for each in fields if each.shown)
        yield f"def __repr__(self):\n return self.__class__.__qualname__ + f'({shown})'\n"
    for method, sign in {
        **({"__eq__": "=="} if options["eq"] else {}),
        **(ORDER if options["order"] else {}),
    }.items():
        yield COMPARED.format(method=method, sign=sign, own=_values(compared), others=_values(compared, "other"))
    if options["eq"] and options["frozen"]:
        yield f"def __hash__(self):\n return hash(({_values(compared)}))\n"
    if options["frozen"]:
        yield FROZEN.format(names=tuple(each.name for each in fields))


def _init(fields: Sequence[_Field], *, frozen: bool, then: bool) -> str:
    put = "object.__setattr__(self, {name!r}, {value})" if frozen else "self.{name} = {value}"
    values = [
        f"{each.name} if {each.name} is not ... else {ast.unparse(each.factory)}()" if each.factory else each.name
        for each in fields
    ]
    lines = [put.format(name=each.name, value=value) for each, value in zip(fields, values)]
    given = [f"{each.name}=..." if each.factory else f"{each.name}={each.name}" if each.default else each.name
             for each in fields]  # fmt: skip
    lines += ["self.__post_init__()"] if then else []
    return f"def __init__(self, {', '.join(given)}):\n" + "".join(f" {line}\n" for line in lines)


def _pairs(fields: Sequence[_Field]) -> str:
    return ", ".join(f"{each.name!r}: self.{each.name}" for each in fields)


def _values(names: Sequence[str], of: str = "self") -> str:
    return "".join(f"{of}.{name}, " for name in names)
