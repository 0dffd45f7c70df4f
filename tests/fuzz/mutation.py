"""Changes to JSON that keep it JSON: bytes alone seldom get past the decoder."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.fuzz.targets import DIVIDER

Slot = tuple[Any, Any]  # a container and the key or index in it

KEYS = (
    "cniVersion", "cniVersions", "name", "type", "plugins", "ipam", "capabilities", "runtimeConfig", "prevResult",
    "dns",
    "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "cni.dev/valid-attachments", "containerID", "ifname",
    "interfaces", "mac", "sandbox", "mtu", "socketPath", "pciID", "ips", "version", "address", "gateway", "interface",
    "routes", "dst", "gw", "advmss", "priority", "table", "scope", "nameservers", "domain", "search", "options",
    "ip4", "ip6", "ip", "code", "msg", "details", "supportedVersions", "kind", "containerId", "config", "ifName",
    "networkName", "netns", "cniArgs", "capabilityArgs", "result", "CNIVERSION", "PlugIns",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, 2**31, 2**63, 2**64, 10**40, "", "n", "true", "cniCacheV1", "e30=",
    "0.1.0", "0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.1", "9.9.9", "1..0",
    "10.0.0.1", "10.0.0.1/24", "10.0.0.1/33", "fd00::1", "fd00::1/64", "::ffff:10.0.0.1/96", "fe80::1%eth0/64",
    "0.0.0.0/0", "::/0", "010.0.0.1/8", "eth0", "a/b", "..", "\0", "\ud800", "\u00e9",
    [], {}, [[]], [{}], [None], [["K", "V"]], {"": ""},
)  # fmt: skip


def mutate(data: bytes, seed: int, otherwise: Callable[[bytes], bytes]) -> bytes:
    """Change one part of the input as JSON where it is some, else as bytes by `otherwise`."""
    chance = random.Random(seed)
    parts = data.split(DIVIDER)
    index = chance.randrange(len(parts))
    try:
        value = [json.loads(parts[index])]
    except ValueError:
        return otherwise(data)
    if chance.random() < 0.2:
        return otherwise(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        container, key = chance.choice(list(_slots(value)))
        chance.choice((_replace, _replace, _add, _drop, _copy))(container, key, value, chance)
    parts[index] = json.dumps(value[0] if value else None).encode()
    return DIVIDER.join(parts)


def _slots(value: Any) -> Iterator[Slot]:
    """Every place of a value in a list or an object."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _slots(value[key])


def _replace(container: Any, key: Any, _whole: Any, chance: random.Random) -> None:
    container[key] = _new(chance)


def _add(container: Any, key: Any, _whole: Any, chance: random.Random) -> None:
    inner = container[key]
    if isinstance(inner, dict):
        inner[chance.choice(KEYS)] = _new(chance)
    elif isinstance(inner, list):
        inner.append(_new(chance))


def _drop(container: Any, key: Any, whole: Any, _chance: random.Random) -> None:
    if container is not whole:
        del container[key]


def _copy(container: Any, key: Any, whole: Any, chance: random.Random) -> None:
    """A value from elsewhere in the same input."""
    other, at = chance.choice(list(_slots(whole)))
    container[key] = json.loads(json.dumps(other[at]))


def _new(chance: random.Random) -> Any:
    return json.loads(json.dumps(chance.choice(VALUES)))
