"""What `exec list` prints: networks, their attachments and their leases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cni_provision.cli.view.table import table


@dataclass(frozen=True)
class Network:
    """A network of the folder."""

    file: str
    name: str
    version: str
    plugins: str


@dataclass(frozen=True)
class Attached:
    """An attachment of the cache; `alive` is whether its namespace is there."""

    network: str
    container: str
    interface: str
    addresses: str
    namespace: str
    alive: bool


@dataclass(frozen=True)
class Lease:
    """An address that host-local has given; `lost` where no attachment is known that has it."""

    network: str
    address: str
    container: str
    interface: str
    lost: bool


def text(networks: Sequence[Network], attached: Sequence[Attached], leases: Sequence[Lease]) -> str:
    """Up to three tables, with an empty line between."""
    tables = (
        table(("file", "network", "version", "plugins", "attached", "leases"), counted(networks, attached, leases)),
        table(
            ("container", "network", "interface", "addresses", "namespace"),
            [(one.container, one.network, one.interface, one.addresses, namespace(one)) for one in attached],
        ),
        table(
            ("lease", "network", "container", "interface", "note"),
            [(one.address, one.network, one.container, one.interface, note(one)) for one in leases],
        ),
    )
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in tables if lines)


def plain(
    networks: Sequence[Network], attached: Sequence[Attached], leases: Sequence[Lease]
) -> dict[str, list[dict[str, Any]]]:
    """The same for programs."""
    return {
        "networks": [asdict(one) for one in networks],
        "attachments": [asdict(one) for one in attached],
        "leases": [asdict(one) for one in leases],
    }


def counted(
    networks: Sequence[Network], attached: Sequence[Attached], leases: Sequence[Lease]
) -> Iterator[tuple[object, ...]]:
    for one in networks:
        numbers = (sum(other.network == one.name for other in each) for each in (attached, leases))
        yield one.file, one.name, one.version, one.plugins, *numbers


def namespace(attached: Attached) -> str:
    return attached.namespace if attached.alive else f"{attached.namespace or 'none'} (gone)"


def note(lease: Lease) -> str:
    return "no attachment is known: `exec gc` frees it" if lease.lost else ""
