"""What runs on a node as bytes: the program of a run, and the one that stays. Runs on the controller."""

from __future__ import annotations

import json
import re
import shlex
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cni_provision.node import boot

PACKAGE = Path(__file__).resolve().parent.parent
PARTS = ("__init__.py", "plan.py", "node/*.py", "cni/*.py", "net/*.py", "checks/*.py")
LEFT_OUT = {"cni_provision.node.bundle", "cni_provision.node.boot"}
ENTERED = ("cni_provision.node.", "cni_provision.checks.")
IMPORT = re.compile(r"^\s*(?:from|import) +(cni_provision[\w.]*)(?: +import +(\([^)]*\)|[^\n]*))?", re.MULTILINE)
WORD = re.compile(r"\w+")
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
    known, waiting, found = _known(), list(names), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += [name.rpartition(".")[0], *_imported(known[name])]
    return found


def _imported(source: str) -> Iterator[str]:
    """What a module imports of ours, at any time: `from a import b` may mean `a.b`."""
    for module, names in IMPORT.findall(source):
        yield module
        yield from (f"{module}.{name}" for name in WORD.findall(names))


def sources() -> dict[str, str]:
    """Module name → source of everything that the node program imports; checks are imported by their names."""
    known = _known()
    return _needed(*(name for name in known if name.startswith(ENTERED)))


@cache
def _known() -> dict[str, str]:
    files = (file for part in PARTS for file in PACKAGE.glob(part))
    named = {_module(file): file for file in files}
    return {name: file.read_text(encoding="utf-8") for name, file in named.items() if name not in LEFT_OUT}


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")
