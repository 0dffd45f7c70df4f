"""Modules without their types: what is there for type checkers and readers alone is not loaded on a node.

Importing `typing` takes 5 ms. Annotations go, `TYPE_CHECKING` and `@overload` with what they hold, the values of
aliases (`Address = Union[…]` becomes None), and then the imports from `typing` and its like that nothing uses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Optional, Union

MODULES = {"__future__", "typing", "collections.abc", "types"}  # importing from them does nothing else
NO_BASES = {"Protocol", "Generic"}


def untyped(tree: ast.Module) -> None:
    """Change the module."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
    }
    _Untyped(names).visit(tree)
    aliases = [each for each in tree.body if isinstance(each, ast.Assign) and _is_alias(each, names)]
    used = _used(ast.Module([each for each in tree.body if each not in aliases], []))
    for alias in aliases:
        if not _targets(alias) & used:
            alias.value = ast.copy_location(ast.Constant(None), alias.value)
    _Unimported(_used(tree)).visit(tree)
    ast.fix_missing_locations(tree)


class _Untyped(ast.NodeTransformer):
    """`names` come from the modules of types."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Optional[ast.stmt]:
        if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
            return None
        return self._without_result(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return self._without_result(node)

    def _without_result(self, node: Union[ast.FunctionDef, ast.AsyncFunctionDef]) -> ast.stmt:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        self.generic_visit(node)
        kept = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(kept, node)

    def visit_If(self, node: ast.If) -> Union[ast.If, list[ast.stmt]]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or [ast.copy_location(ast.Pass(), node)]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases):
            _name_tuple(node)
        bases = [self._without_parameters(base) for base in node.bases]
        node.bases = [base for base in bases if not (isinstance(base, ast.Name) and base.id in NO_BASES & self.names)]
        self.generic_visit(node)
        return node

    def _without_parameters(self, base: ast.expr) -> ast.expr:
        root = base.value if isinstance(base, ast.Subscript) else None
        return root if isinstance(root, ast.Name) and root.id in self.names else base


def _name_tuple(node: ast.ClassDef) -> None:
    """`class A(NamedTuple)` as `class A(namedtuple("A", …))`."""
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    names = [ast.unparse(each.target) for each in fields]
    defaults = ", ".join(ast.unparse(each.value) for each in fields if each.value)
    base = f"__import__('collections').namedtuple({node.name!r}, {names!r}, defaults=[{defaults}])"
    node.bases = [ast.parse(base, mode="eval").body]
    rest = [each for each in node.body if each not in fields]
    node.body = [*rest, *ast.parse("__slots__ = ()").body]


def _is_alias(statement: ast.Assign, names: set[str]) -> bool:
    """`A = Union[…]`, `T = TypeVar(…)`."""
    value = statement.value
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in names & {"TypeVar"}
    return isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and value.value.id in names


def _targets(statement: ast.Assign) -> set[str]:
    return {target.id for target in statement.targets if isinstance(target, ast.Name)}


def _used(tree: ast.Module) -> set[str]:
    """The names that code reads, and those in `__all__`."""
    return set(_reads(tree))


def _reads(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Assign) and "__all__" in _targets(node):
            yield from ast.literal_eval(node.value)


class _Unimported(ast.NodeTransformer):
    """Without the imports of types that are not `used`."""

    def __init__(self, used: set[str]) -> None:
        self.used = used

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.module in MODULES:
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in self.used]
        return node if node.names else ast.copy_location(ast.Pass(), node)
