"""firewalld, asked over D-Bus to trust what containers send: their addresses are sources of a zone.

What is asked for so lasts until firewalld reloads; `verify --repair` asks again.
"""

from __future__ import annotations

from collections.abc import Iterable

from cni_provision.net.address import IPInterface
from cni_provision.net.dbus import Bus, BusError

NAME, PATH = "org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1"
ZONE = f"{NAME}.zone"
ALREADY = ("ZONE_ALREADY_SET", "ALREADY_ENABLED")
GONE = ("UNKNOWN_SOURCE", "NOT_ENABLED")


def runs() -> bool:
    try:
        with Bus() as bus:
            return bus.knows(NAME)
    except BusError:
        return False


def admit(zone: str, addresses: Iterable[IPInterface]) -> None:
    with Bus() as bus:
        for source in map(source_of, addresses):
            _ask(bus, "addSource", zone, source, ALREADY)


def dismiss(zone: str, addresses: Iterable[IPInterface]) -> None:
    """Undo `admit`. Nothing there is success, and so is no firewalld: it forgets when it ends."""
    try:
        bus = Bus()
    except BusError:
        return
    with bus:
        if bus.knows(NAME):
            for source in map(source_of, addresses):
                _ask(bus, "removeSource", zone, source, GONE)


def missing(zone: str, addresses: Iterable[IPInterface]) -> list[str]:
    """What is not as `admit` left it, as sentences."""
    with Bus() as bus:
        lost = [one for one in map(source_of, addresses) if not bus.call(NAME, PATH, ZONE, "querySource", zone, one)]
    return [f"firewalld's zone `{zone}` has no source {one}" for one in lost]


def source_of(address: IPInterface) -> str:
    return f"{address.ip}/{address.max_prefixlen}"


def _ask(bus: Bus, verb: str, zone: str, source: str, fine: tuple[str, ...]) -> None:
    try:
        bus.call(NAME, PATH, ZONE, verb, zone, source)
    except BusError as error:
        if not any(word in str(error) for word in fine):
            raise BusError(error.errno or 0, f"firewalld's zone `{zone}` and {source}: {error}") from error
