"""Keys that several plugins have, read and checked in one way."""

from __future__ import annotations

from typing import Optional

from cni_provision.cni.call import Call
from cni_provision.cni.types import INVALID_CONFIG, CNIError
from cni_provision.cni.values import Config
from cni_provision.net import nft

NFTABLES, IPTABLES = "nftables", "iptables"
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def mac(*given: str) -> Optional[str]:
    """The last one that is not empty, as the kernel writes it; None where all are."""
    chosen = next((one for one in reversed(given) if one), "")
    if chosen and not _is_mac(chosen):
        raise CNIError(INVALID_CONFIG, f"`{chosen}` is not a MAC address")
    return chosen.lower().replace("-", ":") or None


def _is_mac(text: str) -> bool:
    pairs = text.replace("-", ":").split(":")
    return len(pairs) == 6 and all(len(each) == 2 and HEXADECIMAL.issuperset(each) for each in pairs)


def mac_argument(call: Call) -> str:
    """`MAC` of CNI_ARGS, which DEL does without."""
    return "" if call.command == "DEL" else call.known_args("MAC", "IP", "GATEWAY").get("MAC", "")


def within(config: Config, key: str, lowest: int, highest: int) -> int:
    """The number under a key, 0 where there is none."""
    value = config.integer(key)
    if key in config and not lowest <= value <= highest:
        raise config.error(key, f"must be from {lowest} to {highest}")
    return value


def masquerades(config: Config) -> str:
    """The backend that masquerades where `ipMasq` is set: `nftables`, or `iptables`; empty where it is not."""
    backend = config.text("ipMasqBackend") or (NFTABLES if nft.program() else IPTABLES)
    if backend not in (NFTABLES, IPTABLES):
        raise config.error("ipMasqBackend", "is an unknown ipmasq backend; it must be `nftables` or `iptables`")
    return backend if config.boolean("ipMasq") else ""
