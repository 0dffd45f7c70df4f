"""What a plugin is, and the call that it gets: `Plugin`, `Call`, `Delegate` (which `skel` exports too)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Optional, Union

from cni_provision.cni import names, versions
from cni_provision.cni.outcome import Outcome, raise_failure, result_of
from cni_provision.cni.results import retold
from cni_provision.cni.types import INTERNAL, INVALID_ENVIRONMENT, CNIError, Result
from cni_provision.cni.values import Config
from cni_provision.cni.versions import ALL_VERSIONS

ADDED, UNDOES = "CNI_PROVISION_ADDED", "CNI_PROVISION_UNDOES"
Attachments = frozenset[tuple[str, str]]  # (container id, ifname)
Program = Callable[[Sequence[str], Mapping[str, str]], int]
Away = Callable[[], AbstractContextManager[None]]
Execute = Callable[[str, Mapping[str, str], bytes], Union[Outcome, "Plugin"]]  # of a type, an environment, a stdin:
# what came of executing it, or the plugin itself where this process has it


@dataclass(frozen=True)
class Plugin:
    """One plugin: a function for each verb. Where `check`, `status` or `gc` is None, the verb succeeds.

    One that is never in the namespace (IPAM) does not care what CNI_NETNS is: `needs_netns` False.
    `programs` are what its executable does with a first argument (`dhcp daemon`): the other arguments and the
    environment → exit code.
    """

    name: str
    add: Callable[[Call], Result]
    delete: Callable[[Call], None]
    check: Optional[Callable[[Call], None]] = None
    status: Optional[Callable[[Call], None]] = None
    gc: Optional[Callable[[Call], None]] = None
    versions: tuple[str, ...] = ALL_VERSIONS
    about: str = ""
    needs_netns: bool = True
    programs: Mapping[str, Program] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One call, checked. Fields that a verb does not have are empty.

    `netns_fd` is an open network namespace on ADD and CHECK; on DEL it is None where the namespace is gone.
    """

    command: str
    container_id: str
    netns: str
    ifname: str
    path: tuple[str, ...]
    config: Config
    version: str
    prev_result: Result | None
    runtime_config: Config
    valid_attachments: Attachments
    netns_fd: int | None
    stdin: bytes = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    execute: Execute = field(repr=False)
    folder: str = ""  # the caller's working directory, where that is not this process's own
    away: Away = nullcontext  # for a long wait: with call.away(): …

    def absolute(self, path: str) -> str:
        """A path that the configuration has, as the caller means it."""
        return os.path.join(self.folder, path)

    @property
    def added(self) -> str:
        """The token of this ADD, where its server may have to undo it."""
        return self.environment.get(ADDED, "")

    @property
    def undoes(self) -> str:
        """The token of the ADD that this DEL is to undo: no later one."""
        return self.environment.get(UNDOES, "")

    @property
    def args(self) -> dict[str, str]:
        """CNI_ARGS. Raises CNIError 4 where it is not `K=V;K=V` (only plugins that read it care)."""
        return parse_args(self.environment.get("CNI_ARGS", ""))

    def known_args(self, *known: str) -> dict[str, str]:
        """CNI_ARGS of a plugin that knows these keys: others are an error unless `IgnoreUnknown` is true."""
        args = self.args
        lenient = args.pop("IgnoreUnknown", "false")
        if lenient.lower() not in ("1", "true", "0", "false"):
            raise CNIError(INVALID_ENVIRONMENT, f"`IgnoreUnknown` in CNI_ARGS must be true or false, not `{lenient}`")
        unknown = sorted(args.keys() - set(known))
        if unknown and lenient.lower() in ("0", "false"):
            raise CNIError(INVALID_ENVIRONMENT, f"unknown keys in CNI_ARGS: {', '.join(unknown)}")
        return {key: value for key, value in args.items() if key in known}

    def delegate(self, plugin_type: str) -> Delegate:
        """Another plugin (IPAM) that gets this very call; CNIError 7 where the type is no name."""
        names.check_plugin(plugin_type)
        return Delegate(self, plugin_type)


@dataclass(frozen=True)
class Delegate:
    """A plugin that does a part of a call; its failures are raised as its own CNIError."""

    call: Call
    type: str

    def add(self) -> Result:
        found = self._found("ADD")
        if isinstance(found, Plugin):
            result = self._performed(found, "ADD")
            assert result
            return retold(result, self.call.version)
        return result_of(found, self.call.version)

    def delete(self) -> None:
        self._run("DEL")

    def check(self) -> None:
        self._run("CHECK")

    def status(self) -> None:
        self._run("STATUS")

    def gc(self) -> None:
        self._run("GC")

    def _run(self, command: str) -> None:
        found = self._found(command)
        if isinstance(found, Plugin):
            self._performed(found, command)
        else:
            raise_failure(found)

    def _found(self, command: str) -> Union[Outcome, Plugin]:
        environment = {**self.call.environment, "CNI_COMMAND": command}
        return self.call.execute(self.type, environment, self.call.stdin)

    def _performed(self, plugin: Plugin, command: str) -> Optional[Result]:
        """The same call: all that was checked of it is true of this one."""
        try:
            versions.require(self.call.version, plugin.versions)
            return perform(plugin, replace(self.call, command=command))
        except CNIError:
            raise
        except BaseException as error:
            raise internal(error) from error


def perform(plugin: Plugin, call: Call) -> Optional[Result]:
    """What an ADD gives; None for the other verbs."""
    if call.command == "ADD":
        return plugin.add(call)
    functions = {"DEL": plugin.delete, "CHECK": plugin.check, "STATUS": plugin.status, "GC": plugin.gc}
    function = functions[call.command]
    if function:
        function(call)
    return None


def internal(error: BaseException) -> CNIError:
    """A mistake in a plugin, or of the machine, as a plugin reports it."""
    return CNIError(INTERNAL, str(error) or type(error).__name__)


def parse_args(text: str) -> dict[str, str]:
    """`K=V;K=V`, each pair with exactly one `=` (libcni's rule, so that values cannot hold one)."""
    pairs = [pair.split("=") for pair in text.split(";")] if text else []
    if not all(len(pair) == 2 for pair in pairs):
        raise CNIError(INVALID_ENVIRONMENT, f"CNI_ARGS must be `KEY=VALUE;KEY=VALUE`, not `{text}`")
    return dict(pairs)
