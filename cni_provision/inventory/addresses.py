"""The addresses that one network declares: its subnets, checked alone.

Only the parameters that every template shares are known here (`subnet`, `subnets`, `ranges`, `gateway`,
`range_start`, `range_end`, `routed`), and host-local's keys in literal plugin lists.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import BROKEN, Located, type_name
from cni_provision.inventory.model import Network

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
SHARED_SEGMENT = frozenset({"macvlan", "ipvlan"})
START, END = ("range_start", "rangeStart"), ("range_end", "rangeEnd")


@dataclass(frozen=True)
class Subnet:
    """A subnet of a network on a node, and the first and last address that are given to containers.

    `routed`: the fleet routes it, so it is one node's alone. `segment`: nodes share the wire, and may share
    the subnet but not the addresses.
    """

    network: str
    value: IPNetwork
    first: IPAddress
    last: IPAddress
    at: Located
    routed: bool = False
    segment: bool = False

    @property
    def version(self) -> int:
        return self.value.version


def subnets_of(network: Network, located: Located, complaints: Complaints) -> tuple[Subnet, ...]:
    """Every well-formed subnet of a network; the others are mistakes."""
    reader = AddressReader(network, complaints, *traits(network))
    found: list[Subnet] = []
    for holder in holders(located):
        found += reader.holder(holder)
    return tuple(found)


def traits(network: Network) -> tuple[bool, bool]:
    """Whether the network is routed, and whether it is on a shared segment."""
    kinds = {str(plugin.get("type")) for plugin in network.plugins} | {network.template}
    return network.parameters.get("routed") is True, bool(kinds & SHARED_SEGMENT)


def holders(located: Located) -> Iterator[Located]:
    """The mappings that may declare subnets: the parameters, and the `ipam` of literal plugins."""
    parameters = located.get("parameters")
    if parameters:
        yield parameters
    plugins = located.get("plugins")
    for plugin in plugins.value if plugins and isinstance(plugins.value, list) else ():
        ipam = plugin.get("ipam")
        kind = ipam.get("type") if ipam else None
        if ipam and kind and kind.value == "host-local":
            yield ipam


@dataclass(frozen=True)
class AddressReader:
    """Reads the subnets of one network."""

    network: Network
    complaints: Complaints
    routed: bool
    segment: bool

    def holder(self, holder: Located) -> list[Subnet]:
        """`subnet` with its range and gateway, `subnets`, and `ranges`."""
        alone = holder.get("subnet")
        found = [self.one(holder)] if alone is not None else []
        several = holder.get("subnets")
        items = several.value if several and isinstance(several.value, list) else [several] if several else []
        found += [self.one(item) if isinstance(item.value, dict) else self.plain(item) for item in items]
        ranges = holder.get("ranges")
        found += [self.one(item) for item in flat(ranges) if isinstance(item.value, dict)] if ranges else []
        subnets = [subnet for subnet in found if subnet]
        if alone is None and subnets:
            self.gateway(holder, subnets)
        return subnets

    def plain(self, item: Located) -> Subnet | None:
        value = self.subnet(item)
        return self.made(value, item, None, None) if value else None

    def one(self, holder: Located) -> Subnet | None:
        """A mapping with `subnet`, and perhaps a range and a gateway."""
        item = holder.get("subnet")
        value = self.subnet(item) if item else None
        if item is None or value is None:
            return None
        first, last = self.inside(holder, START, value), self.inside(holder, END, value)
        subnet = self.made(value, item, first, last)
        if int(subnet.first) > int(subnet.last):
            at = child(holder, END) or item
            self.complaints.error(
                f"the range ends at `{subnet.last}`, before its start `{subnet.first}`", at, rule="range"
            )
        self.gateway(holder, [subnet])
        return subnet

    def made(self, value: IPNetwork, at: Located, first: IPAddress | None, last: IPAddress | None) -> Subnet:
        """Without a range, all addresses but the network's and the broadcast address (host-local)."""
        spare = 1 if value.version == 4 else 0
        lowest, highest = value[1], value[-1 - spare]
        return Subnet(self.network.name, value, first or lowest, last or highest, at, self.routed, self.segment)

    def subnet(self, item: Located) -> IPNetwork | None:
        """An address with its prefix length, host bits zero, large enough for host-local."""
        if item.value is BROKEN:
            return None
        if not isinstance(item.value, str) or "/" not in item.value:
            shown = f"`{item.value}`" if isinstance(item.value, (str, int, float)) else type_name(item.value)
            self.complaints.error(
                f"{shown} is not a subnet", item, "write address and length: `10.42.0.0/24`", "subnet"
            )
            return None
        try:
            value = ipaddress.ip_network(item.value, strict=False)
        except ValueError:
            self.complaints.error(f"`{item.value}` is not a subnet", item, reason(item.value), "subnet")
            return None
        if str(value.network_address) != str(ipaddress.ip_address(item.value.partition("/")[0])):
            message = f"`{item.value}` has bits set behind its prefix length"
            self.complaints.error(message, item, f"the network is `{value}`", "host bits")
        if value.prefixlen > value.max_prefixlen - 2:
            message = f"`{item.value}` is too small to give addresses from"
            self.complaints.error(message, item, f"at most `/{value.max_prefixlen - 2}`", "small")
            return None
        return value

    def address(self, item: Located) -> IPAddress | None:
        if item.value is BROKEN:
            return None
        try:
            return ipaddress.ip_address(item.value if isinstance(item.value, str) else "")
        except ValueError:
            self.complaints.error(f"`{item.value}` is not an address", item, rule="address")
            return None

    def inside(self, holder: Located, names: tuple[str, ...], subnet: IPNetwork) -> IPAddress | None:
        """A bound of the range, which belongs to the subnet."""
        item = child(holder, names)
        address = self.address(item) if item else None
        if item is None or address is None:
            return None
        if address not in subnet:
            self.complaints.error(
                f"`{address}` is outside of the subnet `{subnet}`", item, rule=f"outside {names[0]}"
            )
            return None
        return address

    def gateway(self, holder: Located, subnets: list[Subnet]) -> None:
        """The gateway is a host's address in one of the subnets."""
        item = child(holder, ("gateway",))
        address = self.address(item) if item and item.value is not None else None
        if item is None or address is None:
            return
        around = [subnet.value for subnet in subnets if address in subnet.value]
        shown = ", ".join(f"`{subnet.value}`" for subnet in subnets)
        if not around:
            first = f"for example `{subnets[0].value[1]}`"
            self.complaints.error(f"the gateway `{address}` is outside of the subnet {shown}", item, first, "gateway")
        elif address == around[0].network_address or (
            address.version == 4 and address == around[0].broadcast_address
        ):
            message = f"the gateway `{address}` is the network's own or the broadcast address of {shown}"
            self.complaints.error(message, item, f"for example `{around[0][1]}`", "gateway")


def child(holder: Located, names: tuple[str, ...]) -> Located | None:
    """The first of several keys that is there."""
    return next((item for item in map(holder.get, names) if item is not None), None)


def flat(ranges: Located) -> Iterator[Located]:
    """The items of a list, and those of lists in it."""
    for item in ranges.value if isinstance(ranges.value, list) else ():
        if isinstance(item.value, list):
            yield from item.value
        else:
            yield item


def reason(text: str) -> str | None:
    """Why a text is no subnet."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        message = str(error)
    try:
        ipaddress.ip_address(text.partition("/")[0])
    except ValueError as error:
        message = str(error)
    return message.replace("'", "`")
