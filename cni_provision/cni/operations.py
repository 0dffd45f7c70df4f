"""What a container runtime does with a network, as operations (`steps`): the order of calls, what each is told, what
is kept, who waits for whom. `Runtime` drives them in a thread, `AsyncRuntime` on an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from cni_provision.cni import invoke, locks, names, protocol, search, versions
from cni_provision.cni.cache import Cached, ResultCache
from cni_provision.cni.config import NetworkConfig, PluginConfig
from cni_provision.cni.outcome import Outcome, raise_failure, result_of
from cni_provision.cni.protocol import Attachment, AttachmentKey
from cni_provision.cni.steps import Blocking, Operation, Run
from cni_provision.cni.types import INCOMPATIBLE_VERSION, UNKNOWN_CONTAINER, CNIError, Result
from cni_provision.cni.values import decode_object, encode

_VERBS = {"ADD": "add", "CHECK": "check", "DEL": "delete", "GC": "gc", "STATUS": "status"}  # libcni's words


@dataclass(frozen=True)
class Execution:
    """One plugin's run, for whoever wants to show it.

    Where there was no end to it (not found, not started, killed) the code is 127, and `outcome.stderr` says why.
    """

    command: str
    plugin: str
    stdin: bytes
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class _Call:
    """One verb of one plugin, and what it is told beside its configuration."""

    command: str
    network: NetworkConfig
    plugin: PluginConfig
    attachment: Attachment | None = None
    previous: Result | None = None
    valid: Collection[AttachmentKey] | None = None


@dataclass(frozen=True)
class Operations:
    """The operations of one node.

    `path` is where plugins are, `folder` where locks are; `timeout` seconds are for one plugin, and for one lock.
    `environment` gives what plugins inherit. With `elsewhere` plugins are not executed here: each is a `Run`.
    """

    path: tuple[str, ...]
    cache: ResultCache
    folder: str
    timeout: float
    environment: Callable[[], Mapping[str, str]]
    trace: Callable[[Execution], None] | None = None
    elsewhere: bool = False

    def add(self, network: NetworkConfig, attachment: Attachment, *, undo: bool) -> Operation[Result]:
        _check(network, attachment)
        with (yield from self._network(network)), (yield from self._container(attachment)):
            try:
                result = yield from self._add_all(network, attachment)
                yield Blocking(lambda: self.cache.write(network, attachment, result))
                return result
            except GeneratorExit:  # nobody drives any more
                raise
            except BaseException:
                if undo:
                    yield from _failures([self._delete_all(network, attachment, continue_on_error=True)])
                raise

    def delete(self, network: NetworkConfig, attachment: Attachment, *, continue_on_error: bool) -> Operation[None]:
        _check(network, attachment)
        with (yield from self._network(network)), (yield from self._container(attachment)):
            yield from self._delete_all(network, attachment, continue_on_error=continue_on_error)

    def check(self, network: NetworkConfig, attachment: Attachment) -> Operation[None]:
        _check(network, attachment)
        if not _allows(network, "CHECK"):
            raise CNIError(
                INCOMPATIBLE_VERSION, f"network `{network.name}` is {network.cni_version}: it has no CHECK"
            )
        if network.disable_check:
            return
        with (yield from self._network(network)), (yield from self._container(attachment)):
            previous = self.cache.result(network.name, attachment.key, network.cni_version)
            if previous is None:
                msg = f"container `{attachment.container_id}` is not attached to network `{network.name}`"
                raise CNIError(UNKNOWN_CONTAINER, msg, f"no cached result for interface {attachment.ifname}")
            for plugin in network.plugins:
                yield from self._ask(_Call("CHECK", network, plugin, attachment, previous))

    def status(self, network: NetworkConfig) -> Operation[None]:
        if _allows(network, "STATUS"):
            for plugin in network.plugins:
                yield from self._ask(_Call("STATUS", network, plugin))

    def gc(self, network: NetworkConfig, valid: Collection[AttachmentKey]) -> Operation[None]:
        keep = _valid(valid)
        names.check_network(network.name)
        if network.disable_gc:
            return
        with (yield from locks.exclusive(self.folder, f"network {network.name}", self.timeout)):
            failures = yield from self._delete_stale(network, keep)
            if _allows(network, "GC"):
                asked = [self._ask(_Call("GC", network, plugin, valid=keep)) for plugin in network.plugins]
                failures += yield from _failures(asked)
            yield Blocking(lambda: self.cache.collect(network.name))
        _raise_all(failures)

    def validate(self, network: NetworkConfig) -> Operation[tuple[str, ...]]:
        names.check_network(network.name)
        types = [name for plugin in network.plugins for name in (plugin.type, plugin.ipam_type) if name]
        failures = []
        for plugin_type in dict.fromkeys(types):
            try:
                versions.require(network.cni_version, (yield from self.version(plugin_type)))
            except CNIError as error:
                failures.append(CNIError(error.code, f"plugin `{plugin_type}`: {error.msg}", error.details))
        _raise_all(failures)
        return tuple(sorted({name for plugin in network.plugins for name in plugin.capabilities}))

    def version(self, plugin_type: str) -> Operation[tuple[str, ...]]:
        # Plugins from before VERSION want these variables; what they say then tells that they are of 0.1.0.
        dummy = Attachment("dummy", "dummy", "dummy")
        environment = protocol.environment(self.environment(), "VERSION", ("dummy",), dummy)
        outcome = yield from self._executed(plugin_type, environment, encode({"cniVersion": versions.CURRENT}))
        try:
            raise_failure(outcome)
        except CNIError as error:
            if error.msg == versions.UNKNOWN_VERSION_COMMAND:
                return (versions.OLDEST,)
            raise
        return versions.supported(decode_object(outcome.stdout))

    def attachments(self, container_id: str) -> Operation[tuple[Cached, ...]]:
        known: tuple[Cached, ...] = yield Blocking(lambda: tuple(self.cache.attachments()))
        return tuple(one for one in known if container_id in ("", one.attachment.container_id))

    def cached(self, network: str, key: AttachmentKey) -> Operation[Cached | None]:
        found: Cached | None = yield Blocking(lambda: self.cache.read(network, key))
        return found

    def _add_all(self, network: NetworkConfig, attachment: Attachment) -> Operation[Result]:
        result: Result | None = None
        for plugin in network.plugins:
            call = _Call("ADD", network, plugin, attachment, result)
            with _telling(call):
                result = result_of((yield from self._run(call)), network.cni_version)
        return result or Result(network.cni_version)

    def _delete_all(
        self, network: NetworkConfig, attachment: Attachment, *, continue_on_error: bool
    ) -> Operation[None]:
        previous = self._previous(network, attachment)
        calls = [_Call("DEL", network, plugin, attachment, previous) for plugin in reversed(network.plugins)]
        _raise_all((yield from _failures(map(self._ask, calls), all_of_them=continue_on_error)))
        self.cache.remove(network.name, attachment.key)

    def _previous(self, network: NetworkConfig, attachment: Attachment) -> Result | None:
        """What DEL tells plugins; a broken entry is worth nothing, and must not keep a container alive."""
        if not versions.at_least(network.cni_version, "0.4.0"):
            return None
        try:
            return self.cache.result(network.name, attachment.key, network.cni_version)
        except CNIError:
            return None

    def _delete_stale(self, network: NetworkConfig, keep: frozenset[AttachmentKey]) -> Operation[list[CNIError]]:
        try:
            known = yield from self.attachments("")
        except CNIError as error:
            return [error]
        own = (one.attachment for one in known if one.network == network.name)
        stale = [self._delete_one(network, attachment) for attachment in own if attachment.key not in keep]
        return (yield from _failures(stale))

    def _delete_one(self, network: NetworkConfig, attachment: Attachment) -> Operation[None]:
        with (yield from self._container(attachment)):
            yield from self._delete_all(network, attachment, continue_on_error=False)

    def _ask(self, call: _Call) -> Operation[None]:
        """A verb without an answer."""
        with _telling(call):
            raise_failure((yield from self._run(call)))

    def _run(self, call: _Call) -> Operation[Outcome]:
        capabilities = call.attachment.capabilities if call.attachment else {}
        told = protocol.stdin(
            call.network, call.plugin, capabilities=capabilities, previous=call.previous, valid=call.valid
        )
        environment = protocol.environment(self.environment(), call.command, self.path, call.attachment)
        return (yield from self._executed(call.plugin.type, environment, told))

    def _executed(self, plugin_type: str, environment: Mapping[str, str], told: bytes) -> Operation[Outcome]:
        started = time.monotonic()
        outcome = Outcome(127)
        try:
            if self.elsewhere:
                outcome = yield Run(plugin_type, environment, told)
            else:
                program = search.find(plugin_type, self.path)
                outcome = yield from invoke.execution(program, environment, told, self.timeout)
        except BaseException as error:
            outcome = replace(outcome, stderr=str(error) or type(error).__name__)
            raise
        finally:
            if self.trace:
                seconds = time.monotonic() - started
                self.trace(Execution(environment["CNI_COMMAND"], plugin_type, told, outcome, seconds))
        return outcome

    def _network(self, network: NetworkConfig) -> Operation[locks.Held]:
        """No GC of this network meanwhile."""
        return locks.shared(self.folder, f"network {network.name}", self.timeout)

    def _container(self, attachment: Attachment) -> Operation[locks.Held]:
        """No other call for this container meanwhile."""
        return locks.exclusive(self.folder, f"container {attachment.container_id}", self.timeout)


def _check(network: NetworkConfig, attachment: Attachment) -> None:
    names.check_network(network.name)
    protocol.check_attachment(attachment)


def _valid(keys: Any) -> frozenset[AttachmentKey]:
    """TypeError for what would free everything by mistake: None, a text, ids without an interface."""
    if keys is None or isinstance(keys, (str, bytes)):
        raise TypeError(f"`valid` must be a collection of (container id, ifname), empty to free all, not {keys!r}")
    keep = frozenset(keys)
    for key in keep:
        if not isinstance(key, tuple) or [type(part) for part in key] != [str, str]:
            raise TypeError(f"`valid` must hold pairs of (container id, ifname), not {key!r}")
    return keep


@contextmanager
def _telling(call: _Call) -> Iterator[None]:
    """Say in an error whose it is."""
    try:
        yield
    except CNIError as error:
        verb = _VERBS[call.command]
        msg = f'plugin type="{call.plugin.type}" name="{call.network.name}" failed ({verb}): {error.msg}'
        raise CNIError(error.code, msg, error.details) from error


def _allows(network: NetworkConfig, command: str) -> bool:
    return versions.allows(network.cni_version, command)


def _failures(operations: Iterable[Operation[None]], *, all_of_them: bool = True) -> Operation[list[CNIError]]:
    """What failed, one operation after the other; only up to the first failure unless `all_of_them`."""
    failures = []
    for operation in operations:
        try:
            yield from operation
        except CNIError as error:
            failures.append(error)
            if not all_of_them:
                break
    return failures


def _raise_all(failures: Sequence[CNIError]) -> None:
    """One error for all: the code is the first one's."""
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise CNIError(failures[0].code, f"{len(failures)} failures: {'; '.join(map(str, failures))}")
