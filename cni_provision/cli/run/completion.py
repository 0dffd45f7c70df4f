"""Values that the shell completes: node and group names of the inventory on the command line."""

from __future__ import annotations

from contextlib import suppress

import click

SEPARATORS = ",:!&"


def complete_limit(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Node and group names that continue the last word of a `--limit` pattern; none when nothing can be read."""
    start = max(incomplete.rfind(separator) for separator in SEPARATORS) + 1
    typed, word = incomplete[:start], incomplete[start:]
    return [typed + name for name in names(context) if name.startswith(word)]


def complete_node(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Node names."""
    return [name for name in names(context, groups=False) if name.startswith(incomplete)]


def complete_network(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of networks in the configuration folder, and files; nothing where it cannot be read."""
    from cni_provision.cli.run.attaching import CONF_DIR, Place
    from cni_provision.cni.types import CNIError

    place, found = Place(context.params.get("conf_dir") or CONF_DIR, (), ""), []
    try:
        for file in place.files():
            with suppress(CNIError):
                found.append(place.network(file).name)
    except CNIError:
        return []
    return sorted({name for name in found if name.startswith(incomplete)})


def names(context: click.Context, *, groups: bool = True) -> list[str]:
    """All names of the inventory; a broken inventory must not disturb the prompt."""
    from cni_provision.errors import CniProvisionError
    from cni_provision.inventory.load import Sources, load

    try:
        nodes = load(Sources(tuple(context.params.get("inventory") or ())), None).nodes
    except (CniProvisionError, OSError):
        return []
    found = {node.name for node in nodes}
    return sorted(found | {group for node in nodes for group in node.groups} if groups else found)
