"""The node program as bytes: the sources of what runs on a node, packed once per run. Runs on the controller."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
PARTS = ("__init__.py", "plan.py", "node/*.py", "cni/*.py", "net/*.py", "checks/*.py")
LEFT_OUT = {"cni_provision.node.bundle", "cni_provision.node.boot"}


@cache
def program() -> bytes:
    """The body of the program frame: zlib JSON {module: source}."""
    text = json.dumps(sources(), sort_keys=True, separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


def sources() -> dict[str, str]:
    """Module name → source of everything that the node program may import."""
    files = (file for part in PARTS for file in PACKAGE.glob(part))
    named = {_module(file): file for file in files}
    return {name: file.read_text(encoding="utf-8") for name, file in named.items() if name not in LEFT_OUT}


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")
