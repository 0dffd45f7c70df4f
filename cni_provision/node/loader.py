"""Imports the node program from memory: it is never a file on the node."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Optional


class Loader:
    """Finds modules among sources, and shows them to tracebacks (`get_source` serves `linecache`)."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources
        self.packages = {name.rpartition(".")[0] for name in sources}

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        if name not in self.sources:
            return None
        return ModuleSpec(name, self, origin=f"<{name}>", is_package=name in self.packages)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """None means the usual module object."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        exec(compile(self.sources[name], f"<{name}>", "exec"), module.__dict__)  # noqa: S102

    def get_source(self, name: str) -> str:
        return self.sources[name]


def install(sources: Mapping[str, str]) -> None:
    """From now on `import` finds `sources` first."""
    sys.meta_path.insert(0, Loader(sources))
