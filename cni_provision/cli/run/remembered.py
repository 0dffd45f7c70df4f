"""Which attachment CHECK and DEL are for: what was cached when it was made, and what the options say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from cni_provision.cli.run.attaching import Container, is_file

if TYPE_CHECKING:
    from cni_provision.cli.run.operating import Session
    from cni_provision.cni.config import NetworkConfig
    from cni_provision.cni.runtime import Attachment, Cached

IFNAME = "eth0"


def meant(session: Session, name: str, container: Container, netns: str | None) -> tuple[NetworkConfig, Attachment]:
    """The network and the attachment; raises `UsageError` where several or none could be meant, and `CNIError`."""
    written = session.network(name) if is_file(name) or session.place.node else None
    known = [one for one in session.cached(written.name if written else name) if container.may_be(one)]
    if netns and not container.container_id:
        known = [one for one in known if one.attachment.container_id == container.attachment(netns).container_id]
    found = one_of(known, name)
    if found is None:
        if not netns and not container.container_id:
            raise click.UsageError(f"no attachment of `{name}` is known: name its namespace, or `--container-id`")
        return written or session.network(name), container.attachment(netns or "")
    return written or as_made(session, found), overridden(found.attachment, container, netns)


def one_of(known: Sequence[Cached], name: str) -> Cached | None:
    """The only one, or the only one with the usual interface."""
    usual = [one for one in known if one.attachment.ifname == IFNAME]
    found = known if len(known) < 2 else usual
    if len(known) > 1 and (len(usual) != 1 or len({one.attachment.container_id for one in known}) > 1):
        keys = ", ".join(f"{one.attachment.container_id}/{one.attachment.ifname}" for one in known)
        raise click.UsageError(f"`{name}` has {len(known)} attachments, {keys}: name one by `--container-id`")
    return found[0] if found else None


def overridden(made: Attachment, container: Container, netns: str | None) -> Attachment:
    """The attachment as it was made; what the options say goes before."""
    said = container.attachment(netns or made.netns)
    return replace(
        made, netns=said.netns, args=said.args or made.args, capabilities=said.capabilities or made.capabilities
    )


def as_made(session: Session, cached: Cached) -> NetworkConfig:
    """The configuration that the attachment was made with, though the folder may have another by now.

    What a side folder adds is not in the cache: then the folder's is taken.
    """
    from cni_provision.cni import config
    from cni_provision.cni.types import CNIError

    present = None
    with suppress(CNIError):
        present = session.place.network(cached.network)
    side = os.path.isdir(os.path.join(session.place.conf_dir, cached.network))
    if present and (side or present.content == cached.config):
        return session.followed(present, cached.network)
    with suppress(CNIError):
        return session.followed(config.load(cached.config), cached.network)
    return session.network(cached.network)
