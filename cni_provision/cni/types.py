"""What the specification talks about, as values: the result of an ADD, and an error with its code.

Shapes of every version are one shape here; `results` reads and writes the shape of each version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Union

IPAddress = Union[IPv4Address, IPv6Address]
IPInterface = Union[IPv4Interface, IPv6Interface]
IPNetwork = Union[IPv4Network, IPv6Network]

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3  # the runtime need not clean up
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
UNDECODABLE = 6
INVALID_CONFIG = 7
INVALID_NETNS = 8  # libcni's, not in the specification's table
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50  # STATUS: cannot serve ADD
LIMITED_CONNECTIVITY = 51  # STATUS: cannot serve ADD, and what is attached may have lost connections
INTERNAL = 999  # libcni's, for every failure without a code of its own; 100 and above are the plugin's


class CNIError(Exception):
    """A failure as the protocol prints it: `code` (0–99 are the specification's), `msg`, `details`."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(code, msg, details)
        self.code = code
        self.msg = msg
        self.details = details

    def __str__(self) -> str:
        return f"{self.msg}; {self.details}" if self.details else self.msg


@dataclass(frozen=True)
class Interface:
    """One interface that a plugin made; an empty `sandbox` means that it is on the host."""

    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int | None = None  # this and the two below: since 1.1.0
    socket_path: str = ""
    pci_id: str = ""


@dataclass(frozen=True)
class IPConfig:
    """One address; `interface` is an index in the result's interfaces, None where IPAM cannot know it."""

    address: IPInterface
    gateway: IPAddress | None = None
    interface: int | None = None


@dataclass(frozen=True)
class Route:
    """One route; everything but `dst` and `gw` exists since 1.1.0."""

    dst: IPNetwork
    gw: IPAddress | None = None
    mtu: int | None = None
    advmss: int | None = None
    priority: int | None = None
    table: int | None = None
    scope: int | None = None


@dataclass(frozen=True)
class DNS:
    """What a resolver is told; false where it says nothing."""  # without a text a dataclass makes one: 0.1 ms

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.nameservers or self.domain or self.search or self.options)


@dataclass(frozen=True)
class Result:
    """What an attachment has; `cni_version` is the version that it was read in, or shall be printed in."""

    cni_version: str = "1.1.0"
    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IPConfig, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: DNS = field(default_factory=DNS)
