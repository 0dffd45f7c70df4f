"""What runs on a node as bytes: the program of a run, and the one that stays. Runs on the controller."""

from __future__ import annotations

import ast
import json
import shlex
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cni_provision.node import boot

PACKAGE = Path(__file__).resolve().parent.parent
PARTS = ("__init__.py", "plan.py", "node/*.py", "cni/*.py", "net/*.py", "checks/*.py")
LEFT_OUT = {"cni_provision.node.bundle", "cni_provision.node.boot"}
RECOVERY = """\
#!/bin/sh
# Finishes or undoes what an interrupted run of cni-provision left: systemd runs it at boot, root may at any time.
exec <"$0"
set -- "" {boot}
{choose}
program
"""


@cache
def program() -> bytes:
    """The body of the program frame: zlib JSON {module: source}."""
    text = json.dumps(sources(), sort_keys=True, separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


@cache
def recovery() -> bytes:
    """An executable that recovers: a script, and behind it JSON {module: source}; the same bytes everywhere."""
    head = RECOVERY.format(boot=shlex.quote(boot.RECOVERY), choose=boot.CHOOSE)
    text = json.dumps(_needed("cni_provision.node.loader", "cni_provision.node.recover"), sort_keys=True, indent=0)
    return (head + text + "\n").encode()


def _needed(*names: str) -> dict[str, str]:
    """The sources of these modules, of the packages that they are in, and of all that they import."""
    known, waiting, found = sources(), list(names), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += [name.rpartition(".")[0], *_imported(known[name])]
    return found


def _imported(source: str) -> Iterator[str]:
    """What a module imports, at any time: `from a import b` may mean `a.b`."""
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield from (statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names))


def sources() -> dict[str, str]:
    """Module name → source of everything that the node program may import."""
    files = (file for part in PARTS for file in PACKAGE.glob(part))
    named = {_module(file): file for file in files}
    return {name: file.read_text(encoding="utf-8") for name, file in named.items() if name not in LEFT_OUT}


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")
