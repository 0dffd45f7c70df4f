"""What the keys of a known plugin mean together: rules beyond the type of each, from the reference plugins' checks.

Every rule gets a configuration whose keys are in lower case and whose values have the right types.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from cni_provision.conflist_plugins import KnownPlugin
from cni_provision.conflist_shape import Problem
from cni_provision.inventory.model import Path, Value

Config = Mapping[str, Value]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NEEDS_CAPABILITY = {"portmap": ("portMappings", "no port is ever mapped")}
SMALLEST_HOST_BITS = 2  # a /31 or /127 has no address left beside network and gateway


def rules(name: str, config: Config, what: str) -> Iterator[Problem]:
    """The problems of one plugin's configuration, keys folded to lower case."""
    rule = RULES.get(name)
    if rule is not None:
        yield from rule(config, what)


def chain_problems(known: KnownPlugin, item: Config, index: int) -> Iterator[Problem]:
    """What depends on where in the chain a plugin stands, and the capabilities without which it does nothing."""
    if known.name == "ipvlan" and index == 0 and not item.get("ipam"):
        yield Problem((), "plugin `ipvlan` needs `ipam` where no plugin before it gives addresses")
    if known.name in NEEDS_CAPABILITY:
        capability, why = NEEDS_CAPABILITY[known.name]
        if not item.get("capabilities", {}).get(capability):
            message = f"plugin `{known.name}` has not the capability `{capability}`: {why}"
            yield Problem((), message, f"add `capabilities: {{{capability}: true}}`", severity="warning")


def without_ranges(item: Config) -> bool:
    """Whether host-local under this plugin would have no range: none of its own, none that the runtime may give."""
    keys = {key.lower() for key, value in item["ipam"].items() if value}
    given = bool(keys & {"ranges", "subnet", "rangestart", "rangeend"})
    return not given and not item.get("capabilities", {}).get("ipRanges")


def _bridge(config: Config, what: str) -> Iterator[Problem]:
    if config.get("hairpinmode") and config.get("promiscmode"):
        yield Problem(("promiscmode",), f"`hairpinMode` and `promiscMode` of {what} exclude each other")
    if config.get("disablecontainerinterface") and config.get("ipam"):
        message = f"`disableContainerInterface` of {what} leaves the interface down: it cannot have `ipam`"
        yield Problem(("disablecontainerinterface",), message)
    for index, trunk in enumerate(config.get("vlantrunk", ())):
        yield from _trunk(trunk, ("vlantrunk", index), what)


def _trunk(trunk: Mapping[str, int], path: Path, what: str) -> Iterator[Problem]:
    keys = {key.lower(): value for key, value in trunk.items()}
    if ("minid" in keys) != ("maxid" in keys):
        yield Problem(path, f"`minID` and `maxID` of {what} stand together")
    elif "minid" in keys and keys["minid"] > keys["maxid"]:
        yield Problem(path, f"`minID` {keys['minid']} of {what} is above `maxID` {keys['maxid']}")
    elif not keys:
        yield Problem(path, f"an entry of `vlanTrunk` of {what} needs `id`, or `minID` and `maxID`")


def _portmap(config: Config, what: str) -> Iterator[Problem]:
    if config.get("externalsetmarkchain") and "markmasqbit" in config:
        message = f"`externalSetMarkChain` and `markMasqBit` of {what} exclude each other"
        yield Problem(("markmasqbit",), message)
    if config.get("backend") == "nftables":
        for key, name in (("externalsetmarkchain", "externalSetMarkChain"), ("markmasqbit", "markMasqBit")):
            if key in config:
                yield Problem((key,), f"`{name}` of {what} works with iptables only, the backend is nftables")


def _bandwidth(config: Config, what: str) -> Iterator[Problem]:
    for way in ("ingress", "egress"):
        rate, burst = config.get(f"{way}rate", 0), config.get(f"{way}burst", 0)
        if bool(rate) != bool(burst):
            here, other = ("Rate", "Burst") if rate else ("Burst", "Rate")
            message = f"`{way}{here}` of {what} needs `{way}{other}` beside it"
            yield Problem((f"{way}{here.lower()}",), message)


def _tuning(config: Config, what: str) -> Iterator[Problem]:
    for key, value in config.get("sysctl", {}).items():
        if not key.replace("/", ".").startswith("net."):
            yield Problem(("sysctl", key), f"`{key}` of {what} is not below `net.`", at_key=True)
        if not isinstance(value, str):
            hint = f'put it in quotes: "{value}"'
            yield Problem(("sysctl", key), f"the value of `{key}` of {what} must be text", hint)


def _host_device(config: Config, what: str) -> Iterator[Problem]:
    keys = ("device", "hwaddr", "kernelpath", "pcibusid")
    if not any(config.get(key) for key in keys) and "capabilities" not in config:
        yield Problem((), f"{what} needs one of `device`, `hwaddr`, `kernelpath`, `pciBusID`")


def _sbr(config: Config, what: str) -> Iterator[Problem]:
    families = [ipaddress.ip_address(text).version for text in config.get("gateways", ())]
    if len(set(families)) < len(families):
        yield Problem(("gateways",), f"`gateways` of {what} has more than one address of a family")


def _host_local(config: Config, what: str) -> Iterator[Problem]:
    flat = {
        key: config[key.lower()] for key in ("subnet", "rangeStart", "rangeEnd", "gateway") if key.lower() in config
    }
    if flat and "subnet" not in flat:
        yield Problem((), f"{what} needs `subnet` beside `{next(iter(flat))}`")
        return
    sets: list[tuple[Path, Sequence[Mapping[str, str]]]] = [((), [flat])] if flat else []
    sets += [(("ranges", index), item) for index, item in enumerate(config.get("ranges", ()))]
    found = [problem for path, ranges in sets for problem in _range_set(ranges, path, what)]
    yield from found
    if not found:
        yield from _overlaps(sets, what)


def _range_set(ranges: Sequence[Mapping[str, str]], path: Path, what: str) -> Iterator[Problem]:
    if not ranges:
        yield Problem(path, f"a range set of {what} is empty")
    for index, item in enumerate(ranges):
        yield from (problem.below((*path, index) if path else ()) for problem in _range(item, what))
    if len({_subnet(item).version for item in ranges}) > 1:
        yield Problem(path, f"a range set of {what} mixes IPv4 and IPv6", "make it two range sets")


def _folded(item: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in item.items()}


def _subnet(item: Mapping[str, str]) -> Network:
    return ipaddress.ip_network(_folded(item)["subnet"])


def _range(item: Mapping[str, str], what: str) -> Iterator[Problem]:
    """One range: a subnet with room, start and end inside it and in order, a gateway of its family."""
    subnet, spelled = _subnet(item), {key.lower(): key for key in item}
    if subnet.max_prefixlen - subnet.prefixlen < SMALLEST_HOST_BITS:
        yield Problem((spelled["subnet"],), f"`{subnet}` of {what} is too small to hand out addresses from")
        return
    limits = {key: ipaddress.ip_address(item[spelled[key]]) for key in ("rangestart", "rangeend") if key in spelled}
    outside = [key for key, address in limits.items() if address not in subnet]
    for key in outside:
        yield Problem((spelled[key],), f"`{spelled[key]}` {limits[key]} of {what} is outside `{subnet}`")
    start, end = limits.get("rangestart"), limits.get("rangeend")
    if start is not None and end is not None and not outside and int(start) > int(end):
        yield Problem(
            (spelled["rangestart"],), f"`{spelled['rangestart']}` {start} of {what} is behind the end {end}"
        )
    if "gateway" in spelled and ipaddress.ip_address(item[spelled["gateway"]]).version != subnet.version:
        yield Problem((spelled["gateway"],), f"the gateway of {what} is not of the family of `{subnet}`")


def _overlaps(sets: Sequence[tuple[Path, Sequence[Mapping[str, str]]]], what: str) -> Iterator[Problem]:
    """Two ranges that share an address, in one set or in two."""
    spans = [(path, _span(item)) for path, ranges in sets for item in ranges]
    for (_, one), (path, other) in combinations(spans, 2):
        if one[0] == other[0] and one[1] <= other[2] and other[1] <= one[2]:
            yield Problem(path, f"two ranges of {what} overlap: {_words(one)} and {_words(other)}")


def _span(item: Mapping[str, str]) -> tuple[int, int, int]:
    """IP version, first and last address as numbers; the reference's defaults where a limit is not given."""
    keys, subnet = _folded(item), _subnet(item)
    last = int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0)
    start = int(ipaddress.ip_address(keys["rangestart"])) if "rangestart" in keys else int(subnet.network_address) + 1
    end = int(ipaddress.ip_address(keys["rangeend"])) if "rangeend" in keys else last
    return subnet.version, start, end


def _words(span: tuple[int, int, int]) -> str:
    kind = ipaddress.IPv4Address if span[0] == 4 else ipaddress.IPv6Address
    return f"{kind(span[1])}–{kind(span[2])}"


RULES: Mapping[str, Callable[[Config, str], Iterator[Problem]]] = {
    "bridge": _bridge,
    "portmap": _portmap,
    "bandwidth": _bandwidth,
    "tuning": _tuning,
    "host-device": _host_device,
    "sbr": _sbr,
    "host-local": _host_local,
}
