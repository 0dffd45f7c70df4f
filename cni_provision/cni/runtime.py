"""What a container runtime does with a network: ADD, CHECK, DEL, GC, STATUS, VERSION (libcni: api.go).

``Runtime(["/opt/cni/bin"]).add(config.find("/etc/cni/net.d", "pods"), Attachment("c1", "/run/netns/c1"))``

Calls for one container wait for each other, in any process on the node; other containers go on; GC of a network
is alone. Everything that fails is a CNIError, which says the plugin, the network and the verb.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from cni_provision.cni import invoke, locks, names, protocol, versions
from cni_provision.cni.cache import Cached, ResultCache
from cni_provision.cni.config import NetworkConfig, PluginConfig
from cni_provision.cni.outcome import Outcome, raise_failure, result_of
from cni_provision.cni.protocol import Attachment, AttachmentKey
from cni_provision.cni.types import INCOMPATIBLE_VERSION, CNIError, Result
from cni_provision.cni.values import decode_object, encode

__all__ = ["Attachment", "Cached", "Execution", "Runtime"]

DEFAULT_CACHE = "/var/lib/cni"
_VERBS = {"ADD": "add", "CHECK": "check", "DEL": "delete", "GC": "gc", "STATUS": "status"}  # libcni's words
STALE_SECONDS = 60.0  # a broken cache file that is younger may be one that libcni is writing


@dataclass(frozen=True)
class Execution:
    """One plugin's run, for whoever wants to show it."""

    command: str
    plugin: str
    stdin: bytes
    outcome: Outcome
    seconds: float


class Runtime:
    """Networks on this node: executables from `path`, results in `cache_dir`, `timeout` seconds for a plugin.

    `environment` is what plugins inherit (default: this process's own, trace context included); `trace` is
    called after each execution.
    """

    def __init__(
        self,
        path: Sequence[str],
        cache_dir: str = DEFAULT_CACHE,
        *,
        timeout: float = 120.0,
        environment: Mapping[str, str] | None = None,
        trace: Callable[[Execution], None] | None = None,
    ) -> None:
        self.path = tuple(path)
        self.timeout = timeout
        self._scratch = os.path.join(cache_dir, "cni-provision")
        self._cache = ResultCache(os.path.join(cache_dir, "results"), self._scratch)
        self._environment = environment
        self._trace = trace

    def add(self, network: NetworkConfig, attachment: Attachment, *, undo: bool = False) -> Result:
        """Attach; the result is also cached. After a failure the caller must `delete`, unless `undo` did it."""
        _check(network, attachment)
        with self._holding(network, attachment):
            try:
                result = self._add_all(network, attachment)
                self._cache.write(network, attachment, result)
                return result
            except CNIError:
                if undo:
                    with suppress(CNIError):
                        self._delete_all(network, attachment, continue_on_error=True)
                raise

    def delete(self, network: NetworkConfig, attachment: Attachment, *, continue_on_error: bool = False) -> None:
        """Detach, in the reverse order; fine when there is nothing left.

        The first failure ends it and keeps the cached result, unless `continue_on_error`: then every plugin is
        called, and one error tells all failures.
        """
        _check(network, attachment)
        with self._holding(network, attachment):
            self._delete_all(network, attachment, continue_on_error=continue_on_error)

    def check(self, network: NetworkConfig, attachment: Attachment) -> None:
        """Raise what is no longer as it was made. Networks before 0.4.0 cannot be checked: CNIError 1."""
        _check(network, attachment)
        if not _allows(network, "CHECK"):
            raise CNIError(
                INCOMPATIBLE_VERSION, f"network `{network.name}` is {network.cni_version}: it has no CHECK"
            )
        if network.disable_check:
            return
        with self._holding(network, attachment):
            previous = self._cache.result(network.name, attachment.key, network.cni_version)
            for plugin in network.plugins:
                self._ask("CHECK", network, plugin, attachment, previous)

    def status(self, network: NetworkConfig) -> None:
        """Raise the first plugin's reason why it cannot serve ADD; networks before 1.1.0 have no STATUS."""
        if _allows(network, "STATUS"):
            for plugin in network.plugins:
                self._ask("STATUS", network, plugin)

    def gc(self, network: NetworkConfig, valid: Collection[AttachmentKey]) -> None:
        """Free what belongs to no attachment in `valid`, (container id, ifname) each; an empty one frees all.

        Cached attachments are deleted with this configuration, then plugins are asked (since 1.1.0). Nothing
        stops it; one error at the end tells all failures.
        """
        keep = frozenset(valid)
        names.check_network(network.name)
        if network.disable_gc:
            return
        with locks.exclusive(self._scratch, f"network {network.name}", self.timeout):
            failures = list(self._delete_stale(network, keep))
            if _allows(network, "GC"):
                failures += self._collect(network, keep)
            self._remove_broken(network)
        _raise_all(failures)

    def validate(self, network: NetworkConfig) -> tuple[str, ...]:
        """The capabilities that its plugins take. Raises one CNIError for all plugins that are absent or too old.

        IPAM plugins are looked at too, which libcni does not.
        """
        names.check_network(network.name)
        types = [name for plugin in network.plugins for name in (plugin.type, plugin.ipam_type) if name]
        failures = []
        for plugin_type in dict.fromkeys(types):
            try:
                versions.require(network.cni_version, self.version(plugin_type))
            except CNIError as error:
                failures.append(CNIError(error.code, f"plugin `{plugin_type}`: {error.msg}", error.details))
        _raise_all(failures)
        return tuple(sorted({name for plugin in network.plugins for name in plugin.capabilities}))

    def version(self, plugin_type: str) -> tuple[str, ...]:
        """The versions that a plugin speaks."""
        # Plugins from before VERSION want these variables; what they say then tells that they are of 0.1.0.
        environment = protocol.environment(self._base(), "VERSION", ("dummy",), Attachment("dummy", "dummy", "dummy"))
        told = encode({"cniVersion": versions.CURRENT})
        outcome = self._execute(plugin_type, environment, told)
        try:
            raise_failure(outcome)
        except CNIError as error:
            if error.msg == versions.UNKNOWN_VERSION_COMMAND:
                return (versions.OLDEST,)
            raise
        return versions.supported(decode_object(outcome.stdout))

    def attachments(self, container_id: str = "") -> tuple[Cached, ...]:
        """What the cache knows, of one container or of all."""
        known = self._cache.attachments()
        return tuple(one for one in known if container_id in ("", one.attachment.container_id))

    def _add_all(self, network: NetworkConfig, attachment: Attachment) -> Result:
        result: Result | None = None
        for plugin in network.plugins:
            with _telling(network, plugin, "ADD"):
                result = result_of(self._run("ADD", network, plugin, attachment, result), network.cni_version)
        return result or Result(network.cni_version)

    def _delete_all(self, network: NetworkConfig, attachment: Attachment, *, continue_on_error: bool) -> None:
        previous = self._previous(network, attachment)
        failures = []
        for plugin in reversed(network.plugins):
            try:
                self._ask("DEL", network, plugin, attachment, previous)
            except CNIError as error:
                if not continue_on_error:
                    raise
                failures.append(error)
        _raise_all(failures)
        self._cache.remove(network.name, attachment.key)

    def _previous(self, network: NetworkConfig, attachment: Attachment) -> Result | None:
        """What DEL tells plugins; a broken entry is worth nothing, and must not keep a container alive."""
        if not versions.at_least(network.cni_version, "0.4.0"):
            return None
        with suppress(CNIError):
            return self._cache.result(network.name, attachment.key, network.cni_version)
        return None

    def _delete_stale(self, network: NetworkConfig, keep: frozenset[AttachmentKey]) -> Iterator[CNIError]:
        for cached in self.attachments():
            if cached.network == network.name and cached.attachment.key not in keep:
                try:
                    with self._one_container(cached.attachment):
                        self._delete_all(network, cached.attachment, continue_on_error=False)
                except CNIError as error:
                    yield error

    def _collect(self, network: NetworkConfig, keep: frozenset[AttachmentKey]) -> Iterator[CNIError]:
        for plugin in network.plugins:
            try:
                self._ask("GC", network, plugin, valid=keep)
            except CNIError as error:
                yield error

    def _remove_broken(self, network: NetworkConfig) -> None:
        for path in self._cache.broken(network.name):
            with suppress(OSError):
                if time.time() - os.stat(path).st_mtime > STALE_SECONDS:
                    os.unlink(path)

    def _ask(
        self,
        command: str,
        network: NetworkConfig,
        plugin: PluginConfig,
        attachment: Attachment | None = None,
        previous: Result | None = None,
        valid: Collection[AttachmentKey] | None = None,
    ) -> None:
        """A verb without an answer."""
        with _telling(network, plugin, command):
            raise_failure(self._run(command, network, plugin, attachment, previous, valid))

    def _run(
        self,
        command: str,
        network: NetworkConfig,
        plugin: PluginConfig,
        attachment: Attachment | None = None,
        previous: Result | None = None,
        valid: Collection[AttachmentKey] | None = None,
    ) -> Outcome:
        capabilities = attachment.capabilities if attachment else {}
        told = protocol.stdin(network, plugin, capabilities=capabilities, previous=previous, valid=valid)
        environment = protocol.environment(self._base(), command, self.path, attachment)
        return self._execute(plugin.type, environment, told)

    def _execute(self, plugin_type: str, environment: Mapping[str, str], told: bytes) -> Outcome:
        program = invoke.find(plugin_type, self.path)
        started = time.monotonic()
        outcome = invoke.execute(program, environment, told, self.timeout)
        if self._trace:
            seconds = time.monotonic() - started
            self._trace(Execution(environment["CNI_COMMAND"], plugin_type, told, outcome, seconds))
        return outcome

    def _base(self) -> Mapping[str, str]:
        return os.environ if self._environment is None else self._environment

    @contextmanager
    def _holding(self, network: NetworkConfig, attachment: Attachment) -> Iterator[None]:
        """No GC of this network meanwhile, and no other call for this container."""
        with locks.shared(self._scratch, f"network {network.name}", self.timeout), self._one_container(attachment):
            yield

    def _one_container(self, attachment: Attachment) -> AbstractContextManager[None]:
        return locks.exclusive(self._scratch, f"container {attachment.container_id}", self.timeout)


def _check(network: NetworkConfig, attachment: Attachment) -> None:
    names.check_network(network.name)
    protocol.check_attachment(attachment)


@contextmanager
def _telling(network: NetworkConfig, plugin: PluginConfig, command: str) -> Iterator[None]:
    """Say in an error whose it is."""
    try:
        yield
    except CNIError as error:
        verb = _VERBS[command]
        msg = f'plugin type="{plugin.type}" name="{network.name}" failed ({verb}): {error.msg}'
        raise CNIError(error.code, msg, error.details) from error


def _allows(network: NetworkConfig, command: str) -> bool:
    return versions.allows(network.cni_version, command)


def _raise_all(failures: Sequence[CNIError]) -> None:
    """One error for all: the code is the first one's."""
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise CNIError(failures[0].code, f"{len(failures)} failures: {'; '.join(map(str, failures))}")
