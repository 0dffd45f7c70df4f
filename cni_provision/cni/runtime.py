"""What a container runtime does with a network: ADD, CHECK, DEL, GC, STATUS, VERSION (libcni: api.go).

``Runtime(["/opt/cni/bin"]).add(config.find("/etc/cni/net.d", "pods"), Attachment("c1", "/run/netns/c1"))``

Calls for one container wait for each other, in any process on the node; other containers go on; GC of a network
is alone. Everything that fails is a CNIError, which says the plugin, the network and the verb. `AsyncRuntime` is the
same on an event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from cni_provision.cni import steps
from cni_provision.cni.cache import Cached, ResultCache
from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.operations import Execution, Operations
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.protocol import Attachment, AttachmentKey
from cni_provision.cni.steps import Blocking, Operation, Run, Step
from cni_provision.cni.types import Result

__all__ = ["Attachment", "Cached", "Execution", "Runtime"]

DEFAULT_CACHE = "/var/lib/cni"
_T = TypeVar("_T")
_TRACE_CONTEXT = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")


class Runtime:
    """Networks on this node, for threads; one object may serve all of them.

    * `path`: folders of executables, the first that has a plugin wins
    * `cache_dir`: libcni's; results are in `results/`, our locks in `cni-provision/`
    * `timeout`: seconds for each plugin and for each wait for a lock; a plugin is killed then, with all it started
    * `environment`: what plugins inherit (default: this process's own, as it is at the call)
    * `trace_context`: called for each plugin; its `traceparent`, `tracestate` and `baggage` go to the environment
    * `trace`: called after each plugin
    * `execute`: runs a plugin in place of an executable in `path`, with time-outs of its own: (type, environment,
      stdin) → `Outcome`
    """

    def __init__(
        self,
        path: Sequence[str],
        cache_dir: str = DEFAULT_CACHE,
        *,
        timeout: float = 120.0,
        environment: Mapping[str, str] | None = None,
        trace_context: Callable[[], Mapping[str, str]] | None = None,
        trace: Callable[[Execution], None] | None = None,
        execute: Callable[[str, Mapping[str, str], bytes], Outcome] | None = None,
    ) -> None:
        self.path = tuple(path)
        self.timeout = timeout
        self._execute = execute
        inherited = inherit(environment, trace_context)
        self._operations = operations(self.path, cache_dir, timeout, inherited, trace, elsewhere=execute is not None)

    def add(self, network: NetworkConfig, attachment: Attachment, *, undo: bool = False) -> Result:
        """Attach; the result is also cached.

        After a failure or an interrupt the caller must `delete`, unless `undo` did it: as well as it could, and the
        error is that of the ADD.
        """
        return self._drive(self._operations.add(network, attachment, undo=undo))

    def delete(self, network: NetworkConfig, attachment: Attachment, *, continue_on_error: bool = False) -> None:
        """Detach, in the reverse order; fine when there is nothing left.

        The first failure ends it and keeps the cached result, unless `continue_on_error`: then every plugin is
        called, and one error tells all failures (the result is kept all the same).
        """
        self._drive(self._operations.delete(network, attachment, continue_on_error=continue_on_error))

    def check(self, network: NetworkConfig, attachment: Attachment) -> None:
        """Raise what is no longer as it was made.

        CNIError 1 for networks before 0.4.0, which have no CHECK; 3 where nothing is attached.
        """
        self._drive(self._operations.check(network, attachment))

    def status(self, network: NetworkConfig) -> None:
        """Raise the first plugin's reason why it cannot serve ADD; networks before 1.1.0 have no STATUS."""
        self._drive(self._operations.status(network))

    def gc(self, network: NetworkConfig, valid: Collection[AttachmentKey]) -> None:
        """Free what belongs to no attachment in `valid`, (container id, ifname) each; an empty one frees all.

        Cached attachments are deleted with this configuration, then plugins are asked (since 1.1.0). Nothing
        stops it; one error at the end tells all failures. Raises TypeError for None and whatever else is no list.
        """
        self._drive(self._operations.gc(network, valid))

    def validate(self, network: NetworkConfig) -> tuple[str, ...]:
        """The capabilities that its plugins take. Raises one CNIError for all plugins that are absent or too old.

        IPAM plugins are looked at too, which libcni does not.
        """
        return self._drive(self._operations.validate(network))

    def version(self, plugin_type: str) -> tuple[str, ...]:
        """The versions that a plugin speaks."""
        return self._drive(self._operations.version(plugin_type))

    def attachments(self, container_id: str = "") -> tuple[Cached, ...]:
        """What the cache knows, of one container or of all."""
        return self._drive(self._operations.attachments(container_id))

    def cached(self, network: str, key: AttachmentKey) -> Cached | None:
        """What the cache knows of one attachment: configuration, arguments and result; None where it has none.

        Raises CNIError 6 for a file that is broken, or from before libcni 0.8 (DEL and CHECK do use its result).
        """
        return self._drive(self._operations.cached(network, key))

    def _drive(self, operation: Operation[_T]) -> _T:
        return steps.drive(operation, self._perform)

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Blocking):
            return step.function()
        if isinstance(step, Run):
            assert self._execute
            return self._execute(step.plugin, step.environment, step.stdin)
        return steps.wait(step)


def operations(
    path: Sequence[str],
    cache_dir: str,
    timeout: float,
    environment: Callable[[], Mapping[str, str]],
    trace: Callable[[Execution], None] | None,
    *,
    elsewhere: bool,
) -> Operations:
    folder = os.path.join(cache_dir, "cni-provision")
    cache = ResultCache(os.path.join(cache_dir, "results"), folder)
    return Operations(tuple(path), cache, folder, timeout, environment, trace, elsewhere)


def inherit(
    environment: Mapping[str, str] | None, trace_context: Callable[[], Mapping[str, str]] | None
) -> Callable[[], Mapping[str, str]]:
    """What a plugin inherits, made anew for each one; names of the trace context may have any case."""

    def inherited() -> Mapping[str, str]:
        base = os.environ if environment is None else environment
        told = {name.upper(): value for name, value in trace_context().items()} if trace_context else {}
        return {**base, **{name: told[name] for name in _TRACE_CONTEXT if name in told}}

    return inherited
