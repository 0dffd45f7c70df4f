"""What is on a node beside our own record: conflists as runtimes find them, attachments and leases."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from cni_provision.cni.cache import ResultCache
from cni_provision.cni.config import NetworkConfig, load
from cni_provision.cni.types import CNIError
from cni_provision.node import observe
from cni_provision.node.protocol import Request

NOT_LEASES = ("lock", "last_reserved_ip")


def contents(request: Request) -> dict[str, Any]:
    """`networks`, `attachments` and `leases`, each a list of plain mappings."""
    configs = list(_configs(request.conf_dir))
    leases = (lease for _, config in configs for lease in _leases(config, f"{request.cache_dir}/networks"))
    return {
        "networks": [_network(file, config) for file, config in configs],
        "attachments": list(_attachments(request.cache_dir)),
        "leases": list(leases),
    }


def _configs(folder: str) -> Iterator[tuple[str, NetworkConfig]]:
    """File and configuration of each network in the order in which runtimes see them; what is broken is left out."""
    for name in observe.conflist_names(folder):
        with contextlib.suppress(OSError, CNIError), open(f"{folder}/{name}", "rb") as file:
            yield name, load(file.read())


def _network(file: str, config: NetworkConfig) -> dict[str, Any]:
    types = [name for plugin in config.plugins for name in (plugin.type, plugin.ipam_type) if name]
    return {"name": config.name, "file": file, "cni_version": config.cni_version, "plugins": types}


def _attachments(cache_dir: str) -> Iterator[dict[str, Any]]:
    """What libcni's cache knows; `alive` says whether the namespace is there."""
    with contextlib.suppress(CNIError):
        for each in ResultCache(f"{cache_dir}/results", f"{cache_dir}/cni-provision").attachments():
            yield {
                "network": each.network,
                "container_id": each.attachment.container_id,
                "ifname": each.attachment.ifname,
                "netns": each.attachment.netns,
                "alive": os.path.exists(each.attachment.netns),
                "addresses": [str(ip.address) for ip in each.result.ips],
            }


def _leases(config: NetworkConfig, default: str) -> Iterator[dict[str, Any]]:
    """The addresses that host-local has given out in a network, and to whom."""
    ipam = config.plugins[0].raw.get("ipam") or {}
    folder = f"{ipam.get('dataDir') or default}/{config.name}"
    for name in observe.listed(folder):
        if not name.startswith((*NOT_LEASES, ".")):
            with contextlib.suppress(OSError), open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                container, _, ifname = file.read(512).partition("\n")
                owner = {"container_id": container.strip(), "ifname": ifname.strip()}
                yield {"network": config.name, "address": name, **owner}
