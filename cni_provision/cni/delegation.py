"""The way to a delegate (IPAM) from a cold plugin: the executable in CNI_PATH, or a call where it is one of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

from cni_provision.cni.outcome import Outcome

if TYPE_CHECKING:
    from cni_provision.cni.call import Execute, Plugin


def execute(plugin_type: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
    """The delegate from CNI_PATH, as a child in our own process group: whoever ends us ends it too."""
    return _execute(_find(plugin_type, environment), environment, stdin)


def carried(digests: Mapping[str, str]) -> Execute:
    """The same for a plugin that carries others, whose executables have these `digests`: they need no process.

    Only where CNI_PATH has that very file: another one may do something else.
    """

    def execute(plugin_type: str, environment: Mapping[str, str], stdin: bytes) -> Union[Outcome, Plugin]:
        path = _find(plugin_type, environment)
        if plugin_type in digests and _digest(path) == digests[plugin_type]:
            return _plugin(plugin_type)
        return _execute(path, environment, stdin)

    return execute


def _find(plugin_type: str, environment: Mapping[str, str]) -> str:
    from cni_provision.cni import search

    return search.find(plugin_type, environment.get("CNI_PATH", "").split(os.pathsep))


def _execute(path: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
    from cni_provision.cni import invoke

    outcome = invoke.execute(path, environment, stdin)
    sys.stderr.write(outcome.stderr)  # SPEC 4: also of one that failed
    return outcome


def _digest(path: str) -> str:
    from cni_provision.cni.digest import sha256

    with open(path, "rb", buffering=0) as file:
        return sha256(file.read())


def _plugin(plugin_type: str) -> Plugin:
    import importlib

    plugin: Plugin = importlib.import_module(f"plugins.{plugin_type.replace('-', '_')}").PLUGIN
    return plugin
