"""One CNI operation of `exec`: the runtime library between the user's options and the specification's answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cni_provision.cli.options import Output
from cni_provision.cli.run.attaching import Place, Where, require_namespace
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import Summary, Text

if TYPE_CHECKING:
    from cni_provision.cli.run.tracing import Recorder
    from cni_provision.cni.config import NetworkConfig
    from cni_provision.cni.runtime import Attachment, Cached, Runtime
    from cni_provision.cni.types import CNIError


@dataclass(frozen=True)
class Watch:
    """How plugins are run: whether that is told, how many seconds each may take, whether all of it is NDJSON."""

    trace: bool = False
    timeout: float = 120.0
    json: bool = False


@dataclass(frozen=True)
class Session:
    """What an operation has at hand."""

    emit: Emit
    place: Place
    runtime: Runtime
    recorder: Recorder | None = None
    asked: dict[str, tuple[str, ...] | CNIError] = field(default_factory=dict)

    def network(self, name: str) -> NetworkConfig:
        """By name or file; raises `CNIError`."""
        return self.followed(self.place.network(name), name)

    def followed(self, network: NetworkConfig, name: str) -> NetworkConfig:
        """The network of that name or file, whose delegates are recorded from now on where that was asked for."""
        if self.recorder:
            self.recorder.follow(network, self.place.path, private=self.place.is_private(name))
        return network

    def plugins(self, name: str) -> list[str]:
        """The plugin of that name where there is one, else the plugins of a network; raises `CNIError`."""
        from cni_provision.cni import search
        from cni_provision.cni.types import CNIError

        try:
            search.find(name, self.place.path)
            return [name]
        except CNIError as absent:
            try:
                network = self.network(name)
            except CNIError as error:
                raise CNIError(absent.code, f"{absent.msg}, and {error.msg}", error.details) from None
        types = [kind for plugin in network.plugins for kind in (plugin.type, plugin.ipam_type) if kind]
        return list(dict.fromkeys(types))

    def versions(self, plugin: str) -> tuple[str, ...]:
        """What a plugin speaks, asked once however often it is wanted; raises `CNIError`."""
        from cni_provision.cni.types import CNIError

        if plugin not in self.asked:
            try:
                self.asked[plugin] = self.runtime.version(plugin)
            except CNIError as error:
                self.asked[plugin] = error
        answer = self.asked[plugin]
        if isinstance(answer, CNIError):
            raise answer
        return answer

    def cached(self, network: str) -> list[Cached]:
        """The attachments of a network."""
        return [one for one in self.runtime.attachments() if one.network == network]


@contextmanager
def opened(where: Where, emit: Emit, watch: Watch) -> Iterator[Session]:
    """A session; what was made for it goes with the block."""
    from cni_provision.cni.runtime import Runtime

    with ExitStack() as stack:
        place = stack.enter_context(where.opened(emit))
        if not watch.trace:
            yield Session(emit, place, Runtime(place.path, place.cache_dir, timeout=watch.timeout))
            return
        from cni_provision.cli.run.tracing import recorder

        recording = stack.enter_context(recorder(emit, place.hiding))
        path = (str(recording.stands_in), *place.path)
        yield Session(emit, place, Runtime(path, place.cache_dir, timeout=watch.timeout, trace=recording), recording)


def operate(name: str, where: Where, work: Callable[[Session], None], watch: Watch) -> int:
    """Run `work`; an error of a plugin goes to stdout as the specification has it, and the exit code is 1."""

    def told(emit: Emit) -> Summary:
        from cni_provision.cni.types import CNIError

        try:
            with opened(where, emit, watch) as session:
                work(session)
        except CNIError as error:
            emit(as_json(error_fields(error)))
            return Summary(1, 0)
        return Summary(0, 0)

    return run(f"exec {name}", Output(json=watch.json), told)


def error_fields(error: CNIError) -> Mapping[str, Any]:
    """An error as the specification prints it (SPEC, section 5.2)."""
    fields: Mapping[str, Any] = {"cniVersion": "1.0.0", "code": error.code, "msg": error.msg}
    return {**fields, "details": error.details} if error.details else fields


def as_json(answer: Any) -> Text:
    """An answer that is JSON for people too."""
    return Text(json.dumps(answer, indent=2) + "\n", answer)


def attach(session: Session, network: NetworkConfig, attachment: Attachment, *, detach: bool) -> None:
    """ADD, print, and DEL where nobody will do it later."""
    from cni_provision.cni.results import encode_result

    require_namespace(attachment.netns)
    result = session.runtime.add(network, attachment, undo=True)
    try:
        session.emit(as_json(encode_result(result, network.cni_version)))
    finally:
        if detach:
            session.runtime.delete(network, attachment)
