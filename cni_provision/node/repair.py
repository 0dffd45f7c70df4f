"""Rules that somebody flushed, made again from the records of what is attached (`verify --repair`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cni_provision.net import firewall, link, masquerade, nft, portmaps, record, spoofcheck
from cni_provision.net.record import Record
from cni_provision.net.rtnl import Socket
from cni_provision.node.protocol import NodeFinding


def repair() -> tuple[NodeFinding, ...]:
    """Tables, chains, maps and elements of live attachments; what was missing, one finding for each table."""
    found = live(record.every())
    return tuple(said(each) for each in rebuilt(found) if each.chains or each.elements)


def live(records: list[Record]) -> list[Record]:
    """Without attachments whose host end is gone: their container is, too, and DEL or GC takes off the rest."""
    with Socket() as socket:
        present = {(one.name, one.index) for one in link.dump(socket)}
    gone = {attachment.owner for attachment, made in records if made.port and (made.port, made.index) not in present}
    return [one for one in records if one[0].owner not in gone]


def rebuilt(records: list[Record]) -> Iterator[nft.Rebuilt]:
    sources = {one.owner: masquerade.of_note(note) for one, note in noted(records, "masquerade")}
    yield masquerade.rebuild(sources)
    guards = [each for one, note in noted(records, "spoofcheck") for each in spoofcheck.of_note(one.owner, note)]
    yield spoofcheck.rebuild(guards)
    ports = [
        each for one, note in noted(records, "portmap") for each in portmaps.of_note(one.network, one.owner, note)
    ]
    yield portmaps.rebuild(ports)
    yield firewall.rebuild(
        [each for one, note in noted(records, "firewall") for each in firewall.of_note(one.network, one.owner, note)]
    )


def noted(records: list[Record], kind: str) -> list[tuple[record.Attachment, Any]]:
    return [(one, made.rules[kind]) for one, made in records if kind in made.rules]


def said(what: nft.Rebuilt) -> NodeFinding:
    counts = ((what.chains, "chain"), (what.elements, "entry"))
    words = [f"{number} {word if number == 1 else PLURAL[word]}" for number, word in counts if number]
    return NodeFinding("rebuilt", f"nftables table `{what.table}` had lost {' and '.join(words)}, which are back")


PLURAL = {"chain": "chains", "entry": "entries"}
