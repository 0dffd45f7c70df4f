"""Address filters of the collection `ansible.utils`: the usual queries, everything else is refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from cni_provision.errors import NeedsAnsible

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
HINT = "add `--reader ansible`"


def ipaddr(value: Any, query: Any = "", version: int | None = None) -> Any:
    """A part of an address or network, by the query's name or a number; False for what is no address."""
    address = parse(value)
    if address is None or (version and address.version != version):
        return False
    if is_number(query):
        return counted(address, int(query), str(value))
    if query not in QUERIES:
        raise NeedsAnsible(f"only Ansible knows `ipaddr('{query}')`", hint=HINT)
    return str(value) if query == "" else QUERIES[query](address, str(value))


def ipv4(value: Any, query: Any = "") -> Any:
    return ipaddr(value, query, 4)


def ipv6(value: Any, query: Any = "") -> Any:
    return ipaddr(value, query, 6)


def ipsubnet(value: Any, size: Any = "", index: Any = None) -> Any:
    """The `index`-th subnet of that prefix length, or how many there are; False for what is no network."""
    address = parse(value)
    if address is None:
        return False
    network = address.network
    if not is_number(size) or address.ip != network.network_address or int(size) < network.prefixlen:
        raise NeedsAnsible(f"only Ansible knows `ipsubnet({size})` of `{value}`", hint=HINT)
    if int(size) > network.max_prefixlen:
        return False
    count = 2 ** (int(size) - network.prefixlen)
    if index is None:
        return str(count)
    place = int(index) + (count if int(index) < 0 else 0)
    if not 0 <= place < count:
        return False
    first = int(network.network_address) + place * 2 ** (network.max_prefixlen - int(size))
    return f"{type(network.network_address)(first)}/{int(size)}"


def ipmath(value: Any, amount: Any) -> str:
    """The address that many further on."""
    address = parse(value)
    if address is None or not is_number(amount):
        raise ValueError(f"`{value}` is not an address, or `{amount}` not a number")
    return str(address.ip + int(amount))


def nthhost(value: Any, index: Any) -> Any:
    """The address at that position of the network; False outside of it and for 0."""
    address = parse(value)
    if address is None or not is_number(index) or int(index) == 0:
        return False
    try:
        return str(address.network[int(index)])
    except IndexError:
        return False


def parse(value: Any) -> Interface | None:
    """An address, with its prefix if it has one."""
    if not isinstance(value, str):
        if isinstance(value, (bool, int)):
            raise NeedsAnsible(f"only Ansible knows address filters on the number `{value}`", hint=HINT)
        return None
    try:
        return ipaddress.ip_interface(value)
    except ValueError:
        return None


def is_number(value: Any) -> bool:
    return not isinstance(value, bool) and str(value).lstrip("-").isdigit()


def counted(address: Interface, index: int, text: str) -> Any:
    """The address at a position of the network, with its prefix."""
    if "/" not in text or address.network.num_addresses == 1:
        raise NeedsAnsible(f"only Ansible knows `ipaddr({index})` of the single address `{text}`", hint=HINT)
    try:
        return f"{address.network[index]}/{address.network.prefixlen}"
    except IndexError:
        return False


def host_part(address: Interface, text: str) -> str | None:
    """The address itself, None for a network as such."""
    network = address.network
    is_network = "/" in text and address.ip == network.network_address and network.num_addresses > 2
    return None if is_network and address.version == 4 else str(address.ip)


def broadcast(address: Interface, text: str) -> str | None:
    large = address.network.num_addresses > 2
    return str(address.network.broadcast_address) if large and "/" in text else None


def network_address(address: Interface, text: str) -> str:
    return str(address.network.network_address)


QUERIES: dict[str, Callable[[Interface, str], Any]] = {
    "": lambda address, text: str(address),
    "address": host_part,
    "prefix": lambda address, text: address.network.prefixlen,
    "netmask": lambda address, text: str(address.network.netmask),
    "subnet": lambda address, text: str(address.network),
    "network": network_address,
    "broadcast": broadcast,
    "size": lambda address, text: address.network.num_addresses,
}
