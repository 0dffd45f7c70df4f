"""The Container Network Interface, versions 0.1.0 to 1.1.0: what `libcni` and its `pkg/` give Go.

Standard library only, Python ≥ 3.9, nothing else of ours. Attach a container::

    from cni_provision.cni import Attachment, Runtime, find

    runtime = Runtime(["/opt/cni/bin"])
    result = runtime.add(find("/etc/cni/net.d", "pods"), Attachment("c1", "/run/netns/c1"))

What `__all__` names is imported when it is first used, so that a plugin loads what it needs. By noun:

types      values: Result and its parts, CNIError and its codes
values     JSON as Go's decoder reads it; `Config`, a typed view of an object
names      what an id, a network, an interface and a plugin may be called
versions   version numbers, negotiation, the answer to VERSION
results    a Result on the wire, in the shape of each version (and so every conversion)
config     conflists and single configurations, from bytes, files and folders
loaders    which network each container runtime chooses in a folder, and why
protocol   what a plugin is told (environment, stdin)    (pure)
outcome    what an execution left, and what that means   (pure)
steps      operations as generators of steps, and how a thread performs them
search     find an executable; invoke: run it; offspring: end it with all that it started
locks      between processes, threads and tasks
cache      what was attached: libcni's own files
operations ADD, CHECK, DEL, GC, STATUS, VERSION for networks, as generators
runtime    Runtime, for threads; async_runtime: AsyncRuntime, for asyncio
call       Plugin, and the Call that its functions get; namespace: CNI_NETNS
skel       what a plugin needs around it: `skel.main(Plugin(...))`; delegation: how IPAM is called
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni_provision.cni.async_runtime import AsyncRuntime
    from cni_provision.cni.cache import Cached
    from cni_provision.cni.call import Call, Plugin
    from cni_provision.cni.config import NetworkConfig, NotFound, PluginConfig, find, load, load_file
    from cni_provision.cni.operations import Execution
    from cni_provision.cni.outcome import Outcome
    from cni_provision.cni.protocol import Attachment
    from cni_provision.cni.results import decode_result, encode_result, read_result
    from cni_provision.cni.runtime import Runtime
    from cni_provision.cni.types import DNS, CNIError, Interface, IPConfig, Result, Route

__all__ = [
    "DNS",
    "AsyncRuntime",
    "Attachment",
    "CNIError",
    "Cached",
    "Call",
    "Execution",
    "IPConfig",
    "Interface",
    "NetworkConfig",
    "NotFound",
    "Outcome",
    "Plugin",
    "PluginConfig",
    "Result",
    "Route",
    "Runtime",
    "decode_result",
    "encode_result",
    "find",
    "load",
    "load_file",
    "read_result",
]

_HOMES = {
    "async_runtime": ("AsyncRuntime",),
    "cache": ("Cached",),
    "call": ("Call", "Plugin"),
    "config": ("NetworkConfig", "NotFound", "PluginConfig", "find", "load", "load_file"),
    "operations": ("Execution",),
    "outcome": ("Outcome",),
    "protocol": ("Attachment",),
    "results": ("decode_result", "encode_result", "read_result"),
    "runtime": ("Runtime",),
    "types": ("DNS", "CNIError", "IPConfig", "Interface", "Result", "Route"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
