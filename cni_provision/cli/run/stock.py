"""What is there for `exec list`: networks of the folder, attachments of the cache, leases of host-local."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from cni_provision.cli.run.attaching import is_alive
from cni_provision.cli.view.attachments import Attached, Lease, Network
from cni_provision.events import DiagnosticFound, Progress

if TYPE_CHECKING:
    from cni_provision.cli.run.operating import Session
    from cni_provision.cni.config import NetworkConfig

LEASES = "/var/lib/cni/networks"  # host-local's default


def stock(session: Session, network: str | None) -> tuple[list[Network], list[Attached], list[Lease]]:
    """Everything, or what belongs to one network; raises `CNIError` for one that nobody knows."""
    known = [pair for pair in networks(session) if network in (None, pair[0].name)]
    attached = [one for one in attachments(session) if network in (None, one.network)]
    keys = {(one.network, one.container, one.interface) for one in attached}
    given = [lease for _, config in known for lease in leases(config, keys)]
    if network and not known and not attached:
        raise session.place.no_network(network)
    if not known and not attached:
        session.emit(Progress(f"no network in {session.place.conf_dir}"))
    return [shown for shown, _ in known], attached, given


def networks(session: Session) -> Iterator[tuple[Network, NetworkConfig]]:
    """Every configuration that can be read; one that cannot is a warning."""
    from cni_provision.cni.types import CNIError

    for file in session.place.files():
        try:
            config = session.place.read(file)
        except CNIError as error:
            session.emit(DiagnosticFound("warning", error.msg, file=file))
            continue
        plugins = " ".join(plugin.type for plugin in config.plugins)
        yield Network(os.path.basename(file), config.name, config.cni_version, plugins), config


def attachments(session: Session) -> Iterator[Attached]:
    for one in session.runtime.attachments():
        known = one.attachment
        addresses = " ".join(str(ip.address) for ip in one.result.ips)
        alive = is_alive(one)
        yield Attached(one.network, known.container_id, known.ifname, addresses, known.netns, alive)


def leases(network: NetworkConfig, attached: set[tuple[str, str, str]]) -> Iterator[Lease]:
    """The leases of a network; `attached` is (network, container, interface) of what is known."""
    folders = {
        plugin.raw["ipam"].get("dataDir") or LEASES
        for plugin in network.plugins
        if plugin.ipam_type == "host-local" and isinstance(plugin.raw.get("ipam"), dict)
    }
    for folder in sorted(map(str, folders)):
        for address, content in files(os.path.join(folder, network.name)):
            container, _, interface = content.partition("\r\n")
            whose = (network.name, container, interface)
            lost = whose not in attached and (interface or not any(one[:2] == whose[:2] for one in attached))
            yield Lease(network.name, address, container, interface, bool(lost))


def files(folder: str) -> Iterator[tuple[str, str]]:
    """(address, content) of host-local's files, in order of address; without its lock, for a look only."""
    names = []
    with suppress(OSError):
        names = os.listdir(folder)
    for name in sorted(filter(is_address, names), key=lambda name: (":" in name, int(ipaddress.ip_address(name)))):
        with (
            suppress(OSError),
            open(os.path.join(folder, name), encoding="utf-8", errors="replace", newline="") as file,
        ):
            content = file.read().strip()
            if content:
                yield name, content


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
