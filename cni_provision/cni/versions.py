"""Version numbers of the specification: order, negotiation, and what a plugin answers to VERSION."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cni_provision.cni.types import INCOMPATIBLE_VERSION, INVALID_CONFIG, UNDECODABLE, CNIError
from cni_provision.cni.values import Config, brief

ALL_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
CURRENT = ALL_VERSIONS[-1]
OLDEST = ALL_VERSIONS[0]  # what a missing `cniVersion` means

FLOORS = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}  # verb → the first version that has it

UNKNOWN_VERSION_COMMAND = "unknown CNI_COMMAND: VERSION"  # what plugins that speak only 0.1.0 answer


def parse(version: str) -> tuple[int, int, int]:
    """One to three numbers with dots, missing ones are 0, no text at all means 0.1.0; ValueError otherwise."""
    parts = (version or OLDEST).split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"`{version}` is not a version; write it as `{CURRENT}`")
    numbers = [int(part) for part in parts] + [0, 0]
    return numbers[0], numbers[1], numbers[2]


def at_least(version: str, floor: str) -> bool:
    """ValueError where one is no version."""
    return parse(version) >= parse(floor)


def allows(version: str, verb: str) -> bool:
    """Whether a network of this version has the verb."""
    return verb not in FLOORS or at_least(version, FLOORS[verb])


def negotiate(version: str, alternatives: Iterable[str]) -> str:
    """The newest of `cniVersion` and `cniVersions` that we speak; `version` as written where there is none.

    Raises CNIError 7 for an alternative that is no version.
    """
    try:
        spoken = [one for one in (*alternatives, version) if parse(one) <= parse(CURRENT)]
    except ValueError as error:
        raise CNIError(INVALID_CONFIG, f"invalid `cniVersion` or `cniVersions`: {error}") from None
    return max(spoken, key=parse, default=version) or OLDEST


def of_config(config: Config) -> str:
    """The `cniVersion` of a plugin's configuration, 0.1.0 where there is none."""
    return config.text("cniVersion") or OLDEST


def require(version: str, supported: tuple[str, ...]) -> None:
    """Membership is by exact text: 1.0 is not 1.0.0."""
    if version not in supported:
        details = f'config is "{version}", plugin supports {list(supported)}'.replace("'", '"')
        raise CNIError(INCOMPATIBLE_VERSION, "incompatible CNI versions", details)


def supported(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """What the answer of a plugin to VERSION says (SPEC: VERSION; libcni: `pkg/version/plugin.go`).

    An answer of 0.2.0 without a list means 0.1.0 and 0.2.0. Raises CNIError 6 for any other without one.
    """
    config = Config(answer, "", UNDECODABLE)
    own, listed = config.text("cniVersion"), config.texts("supportedVersions")
    if not own:
        raise CNIError(UNDECODABLE, "the answer to VERSION lacks `cniVersion`", brief(dict(answer)))
    if not listed and own != "0.2.0":
        raise CNIError(UNDECODABLE, "the answer to VERSION lacks `supportedVersions`", brief(dict(answer)))
    return listed or ("0.1.0", "0.2.0")
