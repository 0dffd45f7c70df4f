"""`Runtime` on an asyncio event loop: the same operations, driven without a thread for each plugin.

``await AsyncRuntime(["/opt/cni/bin"]).add(network, attachment)``

A call that is cancelled ends its plugin and all that this has started, and gives up its locks, before it returns;
with `undo` it has also detached by then. Plugins and locks are waited for on the loop; what is written to disk, and
reading the whole cache, is done in the loop's default executor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from cni_provision.cni.cache import Cached
from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.operations import Execution
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.protocol import Attachment, AttachmentKey
from cni_provision.cni.runtime import DEFAULT_CACHE, inherit, operations
from cni_provision.cni.steps import Blocking, Operation, Step, Wait
from cni_provision.cni.types import Result

__all__ = ["AsyncRuntime"]

_T = TypeVar("_T")


class AsyncRuntime:
    """Networks on this node, for tasks: arguments and methods are `Runtime`'s, but that `execute` is awaited.

    One object may serve all tasks, and other processes and threads may use the same `cache_dir`.
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
        execute: Callable[[str, Mapping[str, str], bytes], Awaitable[Outcome]] | None = None,
    ) -> None:
        self.path = tuple(path)
        self.timeout = timeout
        self._execute = execute
        inherited = inherit(environment, trace_context)
        self._operations = operations(self.path, cache_dir, timeout, inherited, trace, elsewhere=execute is not None)

    async def add(self, network: NetworkConfig, attachment: Attachment, *, undo: bool = False) -> Result:
        """See `Runtime.add`."""
        return await self._drive(self._operations.add(network, attachment, undo=undo))

    async def delete(
        self, network: NetworkConfig, attachment: Attachment, *, continue_on_error: bool = False
    ) -> None:
        """See `Runtime.delete`."""
        await self._drive(self._operations.delete(network, attachment, continue_on_error=continue_on_error))

    async def check(self, network: NetworkConfig, attachment: Attachment) -> None:
        """See `Runtime.check`."""
        await self._drive(self._operations.check(network, attachment))

    async def status(self, network: NetworkConfig) -> None:
        """See `Runtime.status`."""
        await self._drive(self._operations.status(network))

    async def gc(self, network: NetworkConfig, valid: Collection[AttachmentKey]) -> None:
        """See `Runtime.gc`."""
        await self._drive(self._operations.gc(network, valid))

    async def validate(self, network: NetworkConfig) -> tuple[str, ...]:
        """See `Runtime.validate`."""
        return await self._drive(self._operations.validate(network))

    async def version(self, plugin_type: str) -> tuple[str, ...]:
        """See `Runtime.version`."""
        return await self._drive(self._operations.version(plugin_type))

    async def attachments(self, container_id: str = "") -> tuple[Cached, ...]:
        """See `Runtime.attachments`."""
        return await self._drive(self._operations.attachments(container_id))

    async def cached(self, network: str, key: AttachmentKey) -> Cached | None:
        """See `Runtime.cached`."""
        return await self._drive(self._operations.cached(network, key))

    async def _drive(self, operation: Operation[_T]) -> _T:
        """As `steps.drive`."""
        try:
            step = next(operation)
            while True:
                try:
                    answer = await self._perform(step)
                except GeneratorExit:  # the loop is gone: the operation ends its child, and may not await
                    operation.close()
                    raise
                except BaseException as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as end:
            found: _T = end.value
            return found

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Wait):
            return await _wait(step)
        if isinstance(step, Blocking):
            return await _blocking(step)
        assert self._execute
        return await self._execute(step.plugin, step.environment, step.stdin)


async def _wait(step: Wait) -> None:
    if step.descriptor is None:
        await asyncio.sleep(step.seconds or 0)
        return
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(step.descriptor, _tell, readable)
    try:
        await asyncio.wait([readable], timeout=step.seconds)  # before 3.12 `wait_for` can lose a cancellation
    finally:
        loop.remove_reader(step.descriptor)


def _tell(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


async def _blocking(step: Blocking) -> Any:
    """A thread cannot be cancelled: what it writes is waited for, or it would be written after our lock is gone."""
    future = asyncio.get_running_loop().run_in_executor(None, step.function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
