"""A Result on the wire, in the shape of each version: to convert is to decode and to encode.

==========  ==========================================================================================
0.1, 0.2    ``ip4{ip, gateway, routes}`` ``ip6{…}`` ``dns{}``: one address of a family, no interfaces
0.3, 0.4    ``interfaces`` ``ips[{version, address, …}]`` ``routes`` ``dns{}``
1.0         the same without ``ips[].version``; an empty ``dns`` is left out
1.1         interfaces with ``mtu socketPath pciID``; routes with ``mtu advmss priority table scope``
==========  ==========================================================================================
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cni_provision.cni.types import (
    DNS,
    INCOMPATIBLE_VERSION,
    INTERNAL,
    UNDECODABLE,
    CNIError,
    Interface,
    IPAddress,
    IPConfig,
    IPInterface,
    IPNetwork,
    Result,
    Route,
)
from cni_provision.cni.values import Config, decode
from cni_provision.cni.versions import ALL_VERSIONS, OLDEST

_SHAPES = {"0.1.0": 0, "0.2.0": 0, "0.3.0": 1, "0.3.1": 1, "0.4.0": 1, "1.0.0": 2, "1.1.0": 3}
_FAMILIES = (("ip4", 4), ("ip6", 6))


def decode_result(value: object, version: str = "") -> Result:
    """The result in a JSON value, read as its own `cniVersion` says, else as `version`.

    `null` is an empty result. Raises CNIError 6 for a wrong shape, 1 for a version that we do not know.
    """
    if value is not None and not isinstance(value, Mapping):
        raise CNIError(UNDECODABLE, "a result must be an object")
    raw = Config(value, "", UNDECODABLE)
    version = raw.text("cniVersion") or version or OLDEST
    reader = _read_old if _shape(version) == 0 else _read
    return replace(reader(raw), cni_version=version, dns=dns_of(raw.mapping("dns")))


def read_result(content: bytes, version: str = "") -> Result:
    """The same from the bytes that a plugin printed."""
    return decode_result(decode(content), version)


def decode_previous(value: object, version: str) -> Result | None:
    """A `prevResult`, which must be of the configuration's own family of versions."""
    if value is None:
        return None
    result = decode_result(value, version)
    if _shape(result.cni_version) != _shape(version):
        details = f"`prevResult` is {result.cni_version}, the configuration {version}"
        raise CNIError(UNDECODABLE, "could not parse `prevResult`", details)
    return replace(result, cni_version=version)


def encode_result(result: Result, version: str = "") -> dict[str, Any]:
    """The result as an object in the shape of `version`, else of its own.

    Raises CNIError: 1 for a version that we do not know, 999 where the shape demands an address and there is none.
    """
    version = version or result.cni_version or OLDEST
    shape = _shape(version)
    if shape == 0:
        return _write_old(result, version)
    written = _filled(
        interfaces=[_write_interface(one, shape) for one in result.interfaces],
        ips=[_write_ip(one, shape) for one in result.ips],
        routes=[_write_route(one, shape) for one in result.routes],
    )
    dns = _write_dns(result.dns)
    return {"cniVersion": version, **written, **({"dns": dns} if dns or shape < 2 else {})}


def retold(result: Result, version: str) -> Result:
    """What somebody has who is told it in the shape of `version`; what only later shapes say may still be there."""
    if _shape(version) == 0:
        return decode_result(encode_result(result, version), version)
    return replace(result, cni_version=version)


def dns_of(raw: Config) -> DNS:
    """The well-known `dns` object, in a result or in a plugin's configuration."""
    return DNS(raw.texts("nameservers"), raw.text("domain"), raw.texts("search"), raw.texts("options"))


def routes_of(raw: Config) -> tuple[Route, ...]:
    """The list under `routes`, in a result or in a plugin's configuration."""
    return tuple(_route(one) for one in raw.mappings("routes"))


def _shape(version: str) -> int:
    """Index of the row in the table above."""
    if version not in _SHAPES:
        raise CNIError(INCOMPATIBLE_VERSION, f"unknown CNI version `{version}`; known are {', '.join(ALL_VERSIONS)}")
    return _SHAPES[version]


def _read(raw: Config) -> Result:
    interfaces = tuple(_interface(one) for one in raw.mappings("interfaces"))
    ips = tuple(_ip(one) for one in raw.mappings("ips"))
    return Result(interfaces=interfaces, ips=ips, routes=routes_of(raw))


def _read_old(raw: Config) -> Result:
    blocks = [raw.mapping(key) for key, _ in _FAMILIES if raw.mapping(key)]
    ips = tuple(IPConfig(_address(block, "ip"), _ip_address(block, "gateway")) for block in blocks)
    return Result(ips=ips, routes=tuple(route for block in blocks for route in routes_of(block)))


def _interface(raw: Config) -> Interface:
    return Interface(
        name=raw.text("name"),
        mac=raw.text("mac"),
        sandbox=raw.text("sandbox"),
        mtu=raw.integer("mtu") or None,
        socket_path=raw.text("socketPath"),
        pci_id=raw.text("pciID"),
    )


def _ip(raw: Config) -> IPConfig:
    # Some old plugins say -1 for "none".
    index = raw.integer("interface", None)
    known = index if index is not None and index >= 0 else None
    return IPConfig(_address(raw, "address"), _ip_address(raw, "gateway"), known)


def _route(raw: Config) -> Route:
    dst = raw.parsed("dst", _network, "a network such as `10.0.0.0/8`")
    if dst is None:
        raise raw.error("dst", "must be a network")
    numbers = {key: raw.integer(key) or None for key in ("mtu", "advmss", "priority")}
    pointers = {key: raw.integer(key, None) for key in ("table", "scope")}
    return Route(dst, _ip_address(raw, "gw"), **numbers, **pointers)


def _address(raw: Config, key: str) -> IPInterface:
    found = raw.parsed(key, with_prefix, "an address with its prefix such as `10.0.0.5/24`")
    if found is None:
        raise raw.error(key, "must be an address with its prefix")
    return found


def _ip_address(raw: Config, key: str) -> IPAddress | None:
    return raw.parsed(key, ipaddress.ip_address, "an IP address")


def with_prefix(text: str) -> IPInterface:
    """`10.0.0.5/24`; ValueError for anything else."""
    if not text.partition("/")[2].isdigit():  # Python would take a netmask too
        raise ValueError(text)
    return ipaddress.ip_interface(text)


def _network(text: str) -> IPNetwork:
    return with_prefix(text).network


def _write_old(result: Result, version: str) -> dict[str, Any]:
    written = {}
    for key, family in _FAMILIES:
        ip = next((one for one in result.ips if one.address.version == family), None)
        if ip:
            routes = [_write_route(one, 0) for one in result.routes if one.dst.version == family]
            written[key] = _filled(ip=str(ip.address), gateway=_text(ip.gateway), routes=routes)
    if not written:
        raise CNIError(INTERNAL, "cannot convert: no valid IP addresses", f"version {version} cannot say so")
    return {"cniVersion": version, **written, "dns": _write_dns(result.dns)}


def _write_interface(interface: Interface, shape: int) -> dict[str, Any]:
    since = (
        {"mtu": interface.mtu, "socketPath": interface.socket_path, "pciID": interface.pci_id} if shape > 2 else {}
    )
    return {"name": interface.name, **_filled(mac=interface.mac, sandbox=interface.sandbox, **since)}


def _write_ip(ip: IPConfig, shape: int) -> dict[str, Any]:
    head: dict[str, Any] = {"version": str(ip.address.version)} if shape < 2 else {}
    if ip.interface is not None:
        head["interface"] = ip.interface
    return {**head, "address": str(ip.address), **_filled(gateway=_text(ip.gateway))}


def _write_route(route: Route, shape: int) -> dict[str, Any]:
    written: dict[str, Any] = {"dst": str(route.dst), **_filled(gw=_text(route.gw))}
    if shape > 2:
        written.update(_filled(mtu=route.mtu, advmss=route.advmss, priority=route.priority))
        pointers = {"table": route.table, "scope": route.scope}
        written.update({key: value for key, value in pointers.items() if value is not None})
    return written


def _write_dns(dns: DNS) -> dict[str, Any]:
    lists = _filled(nameservers=list(dns.nameservers), domain=dns.domain)
    return {**lists, **_filled(search=list(dns.search), options=list(dns.options))}


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _filled(**values: Any) -> dict[str, Any]:
    """Without what Go's `omitempty` leaves out."""
    return {key: value for key, value in values.items() if value}
