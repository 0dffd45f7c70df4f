"""What `--trace` tells: every plugin that the runtime executes, and those that plugins execute themselves.

The first come from the runtime library itself. The others (IPAM, delegates) are executed by plugins, where we
are not: so for each name below a plugin's configuration (`ipam.type`, `delegate.type` …) a program stands first
in CNI_PATH that runs the real one and records it (`recording`). Executables that a plugin chooses by itself are
not seen.

Secrets of the inventory are not told; nor is a configuration that is readable for its owner alone.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni_provision.cli.run import recording
from cni_provision.cli.run.scratch import scratch
from cni_provision.events import Executed
from cni_provision.inventory.hiding import Hiding

if TYPE_CHECKING:
    from cni_provision.cli.run.invocation import Emit
    from cni_provision.cni.config import NetworkConfig
    from cni_provision.cni.runtime import Execution


PRIVATE = "(not shown: only its owner may read this network's file)"


@contextmanager
def recorder(emit: Emit, hiding: Hiding) -> Iterator[Recorder]:
    """A recorder; its folder goes with the block."""
    with scratch("trace") as folder:
        found = Recorder(emit, folder / "bin", folder / "records", hiding)
        found.stands_in.mkdir()
        found.records.mkdir()
        yield found


@dataclass
class Recorder:
    """`stands_in` is the folder that comes first in CNI_PATH; `private`: what plugins get is not shown."""

    emit: Emit
    stands_in: Path
    records: Path
    hiding: Hiding = field(default_factory=Hiding)
    told: set[str] = field(default_factory=set)
    private: bool = False

    def follow(self, network: NetworkConfig, path: tuple[str, ...], *, private: bool = False) -> None:
        """See what the plugins of this network execute; `path` is the real CNI_PATH."""
        self.private |= private
        direct = {plugin.type for plugin in network.plugins}
        below = {name for plugin in network.plugins for name in named(plugin.raw)} - direct
        for name in below:
            real = next((found for folder in path if os.path.isfile(found := os.path.join(folder, name))), None)
            if real:
                self._stand_in(name, os.path.abspath(real))

    def _stand_in(self, name: str, real: str) -> None:
        words = [sys.executable, "-I", "-S", os.path.abspath(recording.__file__), real, str(self.records)]
        script = self.stands_in / name
        script.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
        script.chmod(0o755)

    def __call__(self, execution: Execution) -> None:
        """Tell one execution, and below it what it executed meanwhile."""
        outcome = execution.outcome
        stdin, stdout = (text.decode("utf-8", "replace") for text in (execution.stdin, outcome.stdout))
        command, plugin, seconds = execution.command, execution.plugin, execution.seconds
        self._emit(Executed(command, plugin, 0, outcome.code, seconds, stdin, stdout, outcome.stderr))
        fresh = {name: record for name, record in self._read() if name not in self.told}
        self.told.update(fresh)
        self._tell(fresh, "", depth=1)

    def _tell(self, records: Mapping[str, dict[str, Any]], parent: str, *, depth: int) -> None:
        for name in sorted(records):
            record = dict(records[name])
            if record.pop("parent") == parent:
                self._emit(Executed(depth=depth, **record))
                self._tell(records, name, depth=depth + 1)

    def _emit(self, executed: Executed) -> None:
        hide = self.hiding.hide
        stdin = PRIVATE if self.private else hide(executed.stdin)
        self.emit(replace(executed, stdin=stdin, stdout=hide(executed.stdout), stderr=hide(executed.stderr)))

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for file in self.records.iterdir():
            yield file.name, json.loads(file.read_text(encoding="utf-8"))


def named(raw: Any, *, top: bool = True) -> Iterator[str]:
    """Every `type` below a plugin's own that could be an executable's name."""
    if isinstance(raw, list):
        for one in raw:
            yield from named(one, top=False)
    elif isinstance(raw, dict):
        kind = raw.get("type")
        if not top and isinstance(kind, str) and kind not in ("", ".", "..") and "/" not in kind and "\0" not in kind:
            yield kind
        for one in raw.values():
            yield from named(one, top=False)
