"""What to verify on a node, as `cni_provision.checks` wants it."""

from __future__ import annotations

import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

from cni_provision import checks
from cni_provision.checks.subject import CheckedNetwork, Subject, to_json
from cni_provision.plan import DIRECTORY, File, Live

if TYPE_CHECKING:
    from cni_provision.desired import Desired

NOT_A_CHECK = "subject"


def verification(desired: Desired, *, probe: bool = True) -> dict[str, Any]:
    """The `verify` of a request for one node."""
    wanted = desired.node.declarations.verify
    networks = tuple(
        CheckedNetwork(
            name=conflist.network,
            file=conflist.file_name,
            text=conflist.text,
            types=tuple(conflist.types),
            cni_version=conflist.cni_version,
            template=conflist.network_declaration.template or "",
        )
        for conflist in desired.conflists
    )
    names = wanted.networks or tuple(network.name for network in networks)
    return to_json(subject_of(desired, networks, names if probe and wanted.probe else ()))


def subject_of(desired: Desired, networks: tuple[CheckedNetwork, ...], probe: tuple[str, ...]) -> Subject:
    declared = desired.node.declarations
    live = (state for state in desired.states.values() if isinstance(state, Live))
    return Subject(
        bin_dir=declared.runtime.bin_dir,
        cache_dir=declared.runtime.cache_dir,
        networks=networks,
        files=tuple(sorted(files_of(desired))),
        sysctl=tuple(sorted((state.name, state.value) for state in live if state.kind == "sysctl")),
        modules=declared.kernel.modules,
        checks=every_check(),
        probe=probe,
        timeout=declared.verify.timeout,
    )


def files_of(desired: Desired) -> list[tuple[str, str]]:
    """Path and digest of each file that is the same on every architecture, and wanted with and without systemd."""
    various = {key for states in desired.variants.values() for key in states}
    files = (state for key, state in desired.states.items() if isinstance(state, File) and key not in various)
    return [(file.path, file.digest) for file in files if file.digest != DIRECTORY and file.kind != "service"]


@cache
def every_check() -> tuple[str, ...]:
    """The names of all checks: the folder is the list."""
    found = (module.name for module in pkgutil.iter_modules(checks.__path__))
    return tuple(sorted(name for name in found if name != NOT_A_CHECK))
