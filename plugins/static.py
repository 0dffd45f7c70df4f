"""static: the addresses that the configuration or the runtime names (an IPAM plugin); it keeps no account of them.

The smallest configuration, inside a network's plugin:

    "ipam": {"type": "static", "addresses": [{"address": "10.42.0.5/24", "gateway": "10.42.0.1"}]}

key        default  meaning
addresses  none     a list of {address, gateway}: an address with its prefix length, and maybe a gateway
routes     none     handed on in the result
dns        none     handed on in the result

Capability `ips` takes the place of all `addresses`, else `args.cni.ips` does: lists of addresses with prefix lengths.
`CNI_ARGS` `IP=a/p,b/p` is added to `addresses`; `GATEWAY=a,b` goes to each of these that has it in its subnet.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from cni_provision.cni import skel
from cni_provision.cni.results import dns_of, routes_of, with_prefix
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import INVALID_CONFIG, INVALID_ENVIRONMENT, CNIError, IPConfig, Result

NOT_AS_CONFIGURED = 100
ONE_PER_FAMILY = ("0.1.0", "0.2.0")
NOTATION = "is expected to be in CIDR notation"


def addresses(call: Call) -> tuple[IPConfig, ...]:
    """Those of this attachment, from the source that goes before the others."""
    given = call.runtime_config.texts("ips") or call.config.mapping("args").mapping("cni").texts("ips")
    found = tuple(an_ip(INVALID_CONFIG, "an entry in the 'ips' field", text) for text in given)
    found = found or configured(call)
    versions = [one.address.version for one in found]
    if call.version in ONE_PER_FAMILY and len(versions) > len(set(versions)):
        problem = f"CNI version {call.version} does not support more than 1 address per family"
        raise CNIError(INVALID_CONFIG, problem)
    return found


def configured(call: Call) -> tuple[IPConfig, ...]:
    """`addresses`, then those of CNI_ARGS."""
    args = call.known_args("IP", "GATEWAY", "MAC")
    written = tuple(an_address(one) for one in ipam_of(call).mappings("addresses"))
    asked = tuple(an_ip(INVALID_ENVIRONMENT, "the 'ip' field", text) for text in listed(args.get("IP", "")))
    return written + with_gateways(asked, listed(args.get("GATEWAY", "")))


def ipam_of(call: Call) -> Config:
    if "ipam" not in call.config:
        raise CNIError(INVALID_CONFIG, "IPAM config missing 'ipam' key")
    return call.config.mapping("ipam")


def an_address(config: Config) -> IPConfig:
    found = an_ip(INVALID_CONFIG, f"`{config.path('address')}`", config.text("address"))
    return replace(found, gateway=config.parsed("gateway", ip_address, "an IP address"))


def an_ip(code: int, where: str, text: str) -> IPConfig:
    try:
        return IPConfig(with_prefix(text))
    except ValueError:
        raise CNIError(code, f"{where} {NOTATION}, got: '{text}'") from None


def listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")] if text else []


def with_gateways(found: tuple[IPConfig, ...], given: list[str]) -> tuple[IPConfig, ...]:
    """Each with the last gateway that is in its subnet."""
    for text in given:
        try:
            gateway = ip_address(text)
        except ValueError:
            raise CNIError(INVALID_ENVIRONMENT, f"invalid gateway address: {text}") from None
        found = tuple(replace(ip, gateway=gateway) if gateway in ip.address.network else ip for ip in found)
    return found


def add(call: Call) -> Result:
    ipam = ipam_of(call)
    return Result(ips=addresses(call), routes=routes_of(ipam), dns=dns_of(ipam.mapping("dns")))


def delete(call: Call) -> None:
    """Nothing is held."""


def check(call: Call) -> None:
    """Each address is in `prevResult`, with its gateway."""
    if call.prev_result is None:
        raise CNIError(INVALID_CONFIG, "required prevResult missing")
    present = {ip.address: ip.gateway for ip in call.prev_result.ips}
    for ip in addresses(call):
        if ip.address not in present or ip.gateway not in (None, present[ip.address]):
            problem = f"static: Failed to match addr {ip.address} on interface {call.ifname}"
            raise CNIError(NOT_AS_CONFIGURED, problem, f"its gateway is {ip.gateway}" if ip.gateway else "")


def status(call: Call) -> None:
    """An ADD would get through the configuration."""
    add(call)


ABOUT = "CNI static plugin: addresses that are given"
PLUGIN = skel.Plugin("static", add, delete, check, status, about=ABOUT, needs_netns=False)

if __name__ == "__main__":
    skel.main(PLUGIN)
