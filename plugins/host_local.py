"""host-local: addresses from ranges that the configuration names, kept in files of this node (an IPAM plugin).

The smallest configuration, inside a network's plugin:

    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.0.0/24"}]]}

key            default                      meaning
ranges         (needed)                     one address from each inner list; an inner list's ranges are alternatives
  subnet       (needed)                     at least a /30, or a /126
  rangeStart   the subnet's first address   the first one to give out
  rangeEnd     the last but broadcast       the last one to give out
  gateway      the subnet's first address   named in the result, never given out
subnet …       none                         the same four keys flat: one more range set, before `ranges`
routes         none                         handed on in the result
dataDir        /var/lib/cni/networks        <dataDir>/<network>/<address> holds the attachment that has the address
resolvConf     none                         a resolv.conf(5) to take the result's `dns` from

Capability `ipRanges`: range sets before all others. Certain addresses are asked for by capability `ips`, by
`args.cni.ips` or by `CNI_ARGS` `IP`, each with or without its prefix length.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import combinations

from cni_provision.cni import results, skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import (
    DNS,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    NOT_AVAILABLE,
    UNDECODABLE,
    CNIError,
    IPConfig,
    Result,
    Route,
)
from cni_provision.net import lease
from cni_provision.net.lease import Address, Attachment, Network, NotAvailable, Range, RangeSet, Store

DATA_DIR = "/var/lib/cni/networks"
NO_ADDRESS = 100
NOT_HELD = 101
ONE_PER_FAMILY = ("0.1.0", "0.2.0")


def range_sets(call: Call) -> tuple[RangeSet, ...]:
    """Every range set, in the order in which their addresses come in the result."""
    found = tuple(range_set(index, each) for index, each in enumerate(declared(call)))
    for (first, one), (second, other) in combinations(enumerate(found), 2):
        if any(a.overlaps(b) for a in one for b in other):
            raise CNIError(INVALID_CONFIG, f"range set {first} overlaps with {second}")
    versions = [ranges[0].subnet.version for ranges in found]
    if call.version in ONE_PER_FAMILY and len(versions) > len(set(versions)):
        problem = f"CNI version {call.version} does not support more than 1 address per family"
        raise CNIError(INVALID_CONFIG, problem)
    return found


def declared(call: Call) -> Iterator[tuple[Config, ...]]:
    ipam = ipam_of(call)
    yield from inner_lists(call.runtime_config, "ipRanges")
    if ipam.text("subnet"):
        yield (ipam,)
    yield from inner_lists(ipam, "ranges")


def inner_lists(outer: Config, key: str) -> Iterator[tuple[Config, ...]]:
    for index, inner in enumerate(outer.sequence(key)):
        name = f"{key}[{index}]"
        yield Config({name: inner}).mappings(name)


def ipam_of(call: Call) -> Config:
    if "ipam" not in call.config:
        raise CNIError(INVALID_CONFIG, "IPAM config missing 'ipam' key")
    return call.config.mapping("ipam")


def range_set(index: int, declared: tuple[Config, ...]) -> RangeSet:
    try:
        ranges = tuple(a_range(each) for each in declared)
        check_together(ranges)
    except ValueError as error:
        raise CNIError(INVALID_CONFIG, f"invalid range set {index}: {error}") from error
    return ranges


def check_together(ranges: RangeSet) -> None:
    if not ranges:
        raise ValueError("empty range set")
    if len({each.subnet.version for each in ranges}) > 1:
        raise ValueError("mixed address families")
    for one, other in combinations(ranges, 2):
        if one.overlaps(other):
            raise ValueError(f"subnets {one} and {other} overlap")


def a_range(config: Config) -> Range:
    subnet = subnet_of(config)
    first = subnet.network_address + 1
    gateway = config.parsed("gateway", ip_address, "an IP address") or first
    start = edge(config, "rangeStart", subnet, first)
    end = edge(config, "rangeEnd", subnet, lease.last_usable(subnet))
    if int(start) > int(end):
        raise ValueError(f"RangeStart {start} is after RangeEnd {end}")
    return Range(subnet, start, end, gateway)


def subnet_of(config: Config) -> Network:
    written = config.text("subnet")
    if not written:
        raise config.error("subnet", "must be a network such as `10.42.0.0/24`")
    subnet = config.parsed("subnet", network_of, "a network such as `10.42.0.0/24`")
    assert subnet is not None
    if has_host_bits(written):
        raise ValueError(
            f"Network has host bits set. For a subnet mask of length {subnet.prefixlen} "
            f"the network address is {subnet.network_address}"
        )
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        raise ValueError(f"Network {subnet} too small to allocate from")
    return subnet


@lru_cache(maxsize=64)
def network_of(text: str) -> Network:
    """Kept, as a node has few and every ADD asks for them: 0.02 ms."""
    return ip_network(text, strict=False)


@lru_cache(maxsize=64)
def has_host_bits(text: str) -> bool:
    return ip_address(text.split("/")[0]) != network_of(text).network_address


def edge(config: Config, key: str, subnet: Network, default: Address) -> Address:
    address = config.parsed(key, ip_address, "an IP address") or default
    if address not in subnet:
        raise ValueError(f"{key[0].upper()}{key[1:]} {address} not in network {subnet}")
    return address


def requested_addresses(call: Call) -> list[Address]:
    """Each address once, in the order of CNI_ARGS, `args.cni.ips`, capability `ips`."""
    by_environment = call.known_args("IP", "MAC").get("IP")
    asked = [(INVALID_ENVIRONMENT, by_environment)] if by_environment else []
    asked += [(INVALID_CONFIG, text) for text in call.config.mapping("args").mapping("cni").texts("ips")]
    asked += [(INVALID_CONFIG, text) for text in call.runtime_config.texts("ips")]
    return list(dict.fromkeys(without_prefix(code, text) for code, text in asked))


def without_prefix(code: int, text: str) -> Address:
    try:
        return ip_address(text.split("/")[0])
    except ValueError:
        raise CNIError(code, f"the requested address `{text}` is not an IP address") from None


def directory(call: Call) -> str:
    base = call.config.mapping("ipam").text("dataDir") or DATA_DIR
    return os.path.join(call.absolute(base), call.config.text("name"))


def attachment(call: Call) -> Attachment:
    return Attachment(call.container_id, call.ifname)


def routes_of(ipam: Config) -> tuple[Route, ...]:
    try:
        return results.routes_of(Config({"routes": list(ipam.sequence("routes"))}, "", UNDECODABLE))
    except CNIError as error:
        raise CNIError(INVALID_CONFIG, f"`ipam`: {error.msg}") from error


def dns_of(call: Call) -> DNS:
    """What `resolvConf`, a resolv.conf(5), says; nothing where the key is absent."""
    ipam = call.config.mapping("ipam")
    path = ipam.text("resolvConf")
    if not path:
        return DNS()
    try:
        with open(call.absolute(path), encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if not line.startswith(("#", ";"))]
    except OSError as error:
        raise ipam.error("resolvConf", f"must be a file to read ({error.strerror})") from error
    words = [(line[0], line[1:]) for line in lines if len(line) > 1]
    return DNS(
        nameservers=tuple(rest[0] for word, rest in words if word == "nameserver"),
        domain=next((rest[0] for word, rest in reversed(words) if word == "domain"), ""),
        search=tuple(each for word, rest in words if word == "search" for each in rest),
        options=tuple(each for word, rest in words if word == "options" for each in rest),
    )


def add(call: Call) -> Result:
    sets, requested = range_sets(call), requested_addresses(call)
    if not sets:
        raise CNIError(INVALID_CONFIG, "no IP ranges specified")
    ipam = ipam_of(call)
    routes, dns = routes_of(ipam), dns_of(call)
    with lease.opened(directory(call)) as store:
        ips = allocate(store, sets, requested, attachment(call))
    return Result(ips=ips, routes=routes, dns=dns)


def allocate(
    store: Store, sets: tuple[RangeSet, ...], requested: list[Address], owner: Attachment
) -> tuple[IPConfig, ...]:
    """One address of each set, or none at all: a failure gives back what this call has taken, and only that."""
    held, ips = store.owned(owner), []
    with ExitStack() as undo:
        for index, ranges in enumerate(sets):
            wanted = next((each for each in requested if lease.range_of(ranges, each)), None)
            try:
                lease.refuse_second(ranges, held, owner)
                address, gateway = lease.allocate(store, index, ranges, owner, wanted)
            except NotAvailable as error:
                raise CNIError(NO_ADDRESS, f"failed to allocate for range {index}: {error}") from error
            undo.callback(store.release, owner, [address.ip])
            ips.append(IPConfig(address, gateway))
        unmet = sorted(set(requested) - {each.address.ip for each in ips}, key=str)
        if unmet:
            raise CNIError(NO_ADDRESS, f"failed to allocate all requested IPs: {' '.join(map(str, unmet))}")
        undo.pop_all()
    return tuple(ips)


def delete(call: Call) -> None:
    """The ranges do not matter here: what the attachment has goes, also after the configuration changed."""
    if not os.path.isdir(directory(call)):
        return
    with lease.opened(directory(call)) as store:
        store.release(attachment(call), store.owned(attachment(call)))


def check(call: Call) -> None:
    """The attachment holds an address, and each one in `prevResult` that comes from our ranges."""
    sets = range_sets(call)
    given = [each.address.ip for each in call.prev_result.ips] if call.prev_result else []
    expected = [each for each in given if any(lease.range_of(ranges, each) for ranges in sets)]
    with lease.opened(directory(call)) as store:
        lost = [str(each) for each in expected if not store.holds(attachment(call), each)]
        if lost or not (expected or store.owned(attachment(call))):
            problem = f"host-local: Failed to find address added by container {call.container_id}"
            raise CNIError(NOT_HELD, problem, f"not held: {', '.join(lost)}" if lost else "")


def status(call: Call) -> None:
    """Every range set has an address left, and the directory can be written."""
    sets = range_sets(call)
    if not sets and not call.config.mapping("capabilities").boolean("ipRanges"):
        raise CNIError(INVALID_CONFIG, "no IP ranges specified")
    try:
        with lease.opened(directory(call)) as store:
            for ranges in sets:
                check_free(store, ranges)
    except OSError as error:
        raise CNIError(NOT_AVAILABLE, f"cannot keep leases in {directory(call)}: {error}") from error


def check_free(store: Store, ranges: RangeSet) -> None:
    taken = [ip_address(name) for name in store.names()]
    given = [each for each in taken if lease.range_of(ranges, each)]
    if len(given) >= sum(each.size for each in ranges):
        raise CNIError(NOT_AVAILABLE, f"no IP addresses available in range set: {lease.describe(ranges)}")


def gc(call: Call) -> None:
    if not os.path.isdir(directory(call)):
        return
    with lease.opened(directory(call)) as store:
        store.retain({Attachment(*each) for each in call.valid_attachments})


ABOUT = "CNI host-local plugin (cni-provision)"
PLUGIN = skel.Plugin("host-local", add, delete, check, status, gc, about=ABOUT, needs_netns=False)

if __name__ == "__main__":
    skel.main(PLUGIN)
