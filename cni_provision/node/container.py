"""Throwaway containers: a new network namespace, attached through the runtime library and detached again."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cni_provision.checks.subject import Subject
from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.runtime import Attachment, Runtime
from cni_provision.cni.types import Result
from cni_provision.net import link, netns, rtnl
from cni_provision.node.answers import SYSTEM_PATH

CACHE = "/run/cni-provision/probe"
PORT = 7780


@dataclass(frozen=True)
class Attached:
    """A throwaway container on a network; `namespace` is a descriptor, the host port maps to `PORT`."""

    network: NetworkConfig
    attachment: Attachment
    namespace: int
    result: Result
    host_port: int | None

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(str(ip.address.ip) for ip in self.result.ips)

    @property
    def gateways(self) -> tuple[str, ...]:
        return tuple(str(ip.gateway) for ip in self.result.ips if ip.gateway)


def runtime_for(subject: Subject) -> Runtime:
    """A runtime with a result cache of its own; plugins find system programs whatever PATH the session has."""
    return Runtime((subject.bin_dir,), CACHE, timeout=subject.timeout, environment={"PATH": SYSTEM_PATH})


@contextmanager
def attached(subject: Subject, config: NetworkConfig, *, with_port: bool) -> Iterator[Attached]:
    """A new namespace on the network, detached at the end whatever happens."""
    runtime = runtime_for(subject)
    with ExitStack() as stack:
        namespace = netns.create()
        stack.callback(os.close, namespace)
        loopback_up(namespace)
        host_port = free_port() if with_port else None
        attachment = Attachment(
            container_id=f"cnip-probe-{secrets.token_hex(8)}",
            netns=f"/proc/{os.getpid()}/fd/{namespace}",
            ifname="lo" if only_loopback(config) else "eth0",
            capabilities=port_mapping(host_port),
        )
        stack.callback(runtime.delete, config, attachment)
        result = runtime.add(config, attachment)
        yield Attached(config, attachment, namespace, result, host_port)


def loopback_up(namespace: int) -> None:
    """As runtimes do for every container: its own address is reached over `lo`."""
    with rtnl.Socket(namespace) as inside:
        link.change(inside, link.get(inside, "lo"), link.Settings(up=True))


def only_loopback(config: NetworkConfig) -> bool:
    return all(plugin.type == "loopback" for plugin in config.plugins)


def port_mapping(host_port: int | None) -> dict[str, object]:
    if host_port is None:
        return {}
    return {"portMappings": [{"hostPort": host_port, "containerPort": PORT, "protocol": "tcp"}]}


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as chosen:
        chosen.bind(("", 0))
        port: int = chosen.getsockname()[1]
        return port
