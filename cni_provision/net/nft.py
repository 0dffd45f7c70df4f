"""nftables: elements straight on nfnetlink, tables, chains and rules through the `nft` program.

An element is what an attachment has (a masqueraded address, a mapped port); rules are made once per network.
An element's comment is its owner (`owner`); it is made exclusively and deleted only after a look at its owner.
Sources: linux/netfilter/nf_tables.h, libnftnl's layout of user data (type, length, value).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Union

from cni_provision.cni.digest import sha256
from cni_provision.net import nfnetlink, rtnl
from cni_provision.net.nfnetlink import Message, NfnetlinkError, number
from cni_provision.net.rtnl import attribute, attributes, nested, text

INET, BRIDGE = 1, 7
LOCK = "/run/cni-provision/nft.lock"
PROGRAMS = ("/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft")
NETWORK_DIGITS = 12  # of an owner's 32: the network, so that GC knows whose an element is

_SUBSYSTEM = nfnetlink.NFTABLES << 8
_DELETE_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT, _GET_GENERATION = (
    _SUBSYSTEM | kind for kind in (2, 4, 7, 10, 12, 13, 14, 16)
)
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_KEY, _DATA, _USER_DATA = 1, 2, 6
_VALUE, _VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN, _GOTO = 1, 2, -4
_CHAIN_POLICY, _DROP = 5, bytes(4)
_COMMENT = 0
_PER_BATCH = 400
_TRIES = 20


@dataclass(frozen=True)
class Goto:
    """The data of an element in a verdict map."""

    chain: str


@dataclass(frozen=True)
class Element:
    """`key` and `data` as the kernel's registers hold them: each part big-endian, padded to four bytes."""

    set: str
    key: bytes
    data: Union[bytes, Goto, None] = None
    owner: str = ""


@dataclass(frozen=True)
class Rebuilt:
    """What was missing in a table, and is there again."""

    table: str
    chains: int
    elements: int


class NftError(OSError):
    """The `nft` program refused a script, or is not there (`ENOENT`)."""


def owner(network: str, container_id: str, ifname: str) -> str:
    """32 hexadecimal digits for one attachment; all of one network begin alike (`of_network`)."""
    rest = sha256("\0".join((network, container_id, ifname)).encode())
    return of_network(network) + rest[: 32 - NETWORK_DIGITS]


def of_network(network: str) -> str:
    return sha256(network.encode())[:NETWORK_DIGITS]


def program() -> str | None:
    return next((path for path in PROGRAMS if os.access(path, os.X_OK)), None)


def run(script: str, *, dry: bool = False) -> str:
    """Run an `nft` script as one transaction; returns what it lists. `NftError` with what the program said.

    `dry`: the kernel looks at all of it, and takes nothing.
    """
    import subprocess  # costs milliseconds, and few calls come here

    path = program()
    if path is None:
        raise NftError(errno.ENOENT, "the program `nft` is not installed; install the package nftables")
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    argv = [path, *(["--check"] if dry else []), "-a", "-f", "-"]
    done = subprocess.run(argv, input=script, text=True, capture_output=True, env=environment, check=False)
    if done.returncode:
        raise NftError(errno.EINVAL, f"nft: {_first_error(done.stderr)}")
    return done.stdout


def _first_error(said: str) -> str:
    """nft's first message with the line that it points at, on one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip(" ^~")]
    return "; ".join(lines[:2]).replace("/dev/stdin:", "") or "it failed and said nothing"


@contextmanager
def lock(path: str = LOCK) -> Iterator[None]:
    """The node's nft lock: between looking at an element's owner and deleting it nobody of ours steps in."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Table:
    """The elements of one table, over a socket of the table's own namespace: get one from `table`."""

    def __init__(self, socket: nfnetlink.Socket, name: str, family: int) -> None:
        self.name = name
        self.family = family
        self._socket = socket

    def add(self, elements: Sequence[Element]) -> None:
        """All or none. `EEXIST`: somebody has such a key; `ENOENT`: no such table, set or chain."""
        flags = rtnl.CREATE | rtnl.EXCLUSIVE
        self._socket.batch([self._change(_NEW_ELEMENT, each, flags) for each in elements])

    def get(self, set_name: str, key: bytes) -> Element | None:
        """The element under `key`; None if there is none, and also if there is no such set or table."""
        message = self._change(_GET_ELEMENT, Element(set_name, key), 0)
        try:
            replies = self._socket.get(message)
        except NfnetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return next((each for reply in replies for each in _elements(set_name, reply)), None)

    def dump(self, set_name: str) -> list[Element]:
        """Every element of a set; empty if there is no such set or table."""
        payload = text(_LIST_TABLE, self.name) + text(_LIST_SET, set_name)
        replies = self._dump(_GET_ELEMENT, payload, f"list {self.name} {set_name}")
        return [each for reply in replies for each in _elements(set_name, reply)]

    def sets(self) -> tuple[str, ...]:
        """The names of the table's sets and maps, anonymous ones left out."""
        found = self._names(_GET_SET, f"list the sets of {self.name}", name_attribute=2)
        return tuple(name for name in found if not name.startswith("__"))

    def chains(self) -> tuple[str, ...]:
        return self._names(_GET_CHAIN, f"list the chains of {self.name}", name_attribute=3)

    def unruly(self, chains: Sequence[str]) -> tuple[str, ...]:
        """Those of `chains` that have no rule, or are not there at all."""
        operation = f"list the rules of {self.name}"
        return tuple(
            chain
            for chain in chains
            if not self._dump(_GET_RULE, text(_LIST_TABLE, self.name) + text(_LIST_SET, chain), operation)
        )

    def drops(self, chain: str) -> bool:
        """Whether a base chain drops what no rule of it accepts; False if there is none."""
        payload, operation = text(_LIST_TABLE, self.name) + text(3, chain), f"look at chain {self.name} {chain}"
        try:
            replies = self._socket.get(Message(_GET_CHAIN, payload, 0, self.family, operation))
        except NfnetlinkError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return any(attributes(reply).get(_CHAIN_POLICY) == _DROP for reply in replies)

    def delete_if_empty(self) -> None:
        """Delete the table with its chains and rules if no set or map of it has an element."""
        with lock():
            generation, names = self._generation(), self.sets()
            if names and not any(self.dump(name) for name in names):
                payload, operation = text(_LIST_TABLE, self.name), f"delete table {self.name}"
                self._unless_changed([Message(_DELETE_TABLE, payload, 0, self.family, operation)], generation)

    def remove(self, keys: Collection[tuple[str, bytes]], owners: Collection[str]) -> tuple[Element, ...]:
        """Delete the elements under `keys` ((set, key) pairs) that belong to one of `owners`, and return them.

        What belongs to anybody else, or is gone, is left alone.
        """
        with lock():
            for _ in range(_TRIES):
                generation = self._generation()
                present = (self.get(*key) for key in dict.fromkeys(keys))
                ours = tuple(each for each in present if each and each.owner in owners)
                if self._delete(ours, generation):
                    return ours
        raise NfnetlinkError(errno.EAGAIN, f"delete elements of {self.name}: the rules change all the time")

    def _delete(self, elements: Sequence[Element], generation: int) -> bool:
        """False if the rules have changed since `generation`: look again."""
        messages = [self._change(_DELETE_ELEMENT, each, 0) for each in elements]
        parts = [messages[start : start + _PER_BATCH] for start in range(0, len(messages), _PER_BATCH)]
        # our own first batch moves the generation; the lock still holds for the rest
        return all(self._unless_changed(part, None if index else generation) for index, part in enumerate(parts))

    def _unless_changed(self, messages: Sequence[Message], generation: int | None) -> bool:
        try:
            self._socket.batch(messages, generation)
        except NfnetlinkError as error:
            if error.errno in (errno.ERESTART, errno.ENOENT):
                return False
            raise
        return True

    def _generation(self) -> int:
        replies = self._socket.get(Message(_GET_GENERATION, b"", operation="read the generation of nftables"))
        return int(struct.unpack("!I", attributes(replies[0])[1])[0])

    def _names(self, kind: int, operation: str, *, name_attribute: int) -> tuple[str, ...]:
        found = [attributes(reply) for reply in self._dump(kind, text(_LIST_TABLE, self.name), operation)]
        mine = [each for each in found if rtnl.string(each[1]) == self.name]
        return tuple(rtnl.string(each[name_attribute]) for each in mine)

    def _dump(self, kind: int, payload: bytes, operation: str) -> list[bytes]:
        try:
            return self._socket.dump(Message(kind, payload, 0, self.family, operation))
        except NfnetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    def _change(self, kind: int, element: Element, flags: int) -> Message:
        payload = text(_LIST_TABLE, self.name) + text(_LIST_SET, element.set)
        payload += nested(_LIST_ELEMENTS, nested(1, encode(element)))
        verb = {_NEW_ELEMENT: "add to", _DELETE_ELEMENT: "delete from", _GET_ELEMENT: "look into"}[kind]
        return Message(kind, payload, flags, self.family, f"{verb} {self.name} {element.set}")


@contextmanager
def table(name: str, family: int = INET) -> Iterator[Table]:
    """A table, there or not, of the present network namespace."""
    with nfnetlink.borrowed() as socket:
        yield Table(socket, name, family)


def put(table: Table, wanted: Sequence[Element], script: Callable[[], str]) -> None:
    """Add elements, whoever had their keys before; `script` makes what they stand in where that is not there."""
    if not wanted:
        return
    try:
        table.add(wanted)
    except NfnetlinkError as error:
        if error.errno not in (errno.ENOENT, errno.EEXIST):
            raise
        evict(table, [(each.set, each.key) for each in wanted])
        with lock():  # against a GC that deletes the empty table
            run(script())
            table.add(wanted)


def evict(table: Table, keys: Sequence[tuple[str, bytes]]) -> None:
    """Delete the elements under `keys`, whoever they belong to."""
    present = [element for element in (table.get(*key) for key in keys) if element]
    table.remove([(each.set, each.key) for each in present], {each.owner for each in present})


def rebuild(table: Table, script: str, chains: Sequence[str], wanted: Sequence[Element]) -> Rebuilt:
    """Run `script`, which may run twice, if one of `chains` has no rules, and add those of `wanted` that are missing.

    A key that has another owner by now stays as it is; one of our own that leads elsewhere is set right.
    """
    present = {(each.set, each.key): each for name in {one.set for one in wanted} for each in table.dump(name)}
    found = [(each, present.get((each.set, each.key))) for each in wanted]
    wrong = [each for each, there in found if there and there.owner == each.owner and there != each]
    absent = wrong + [each for each, there in found if there is None]
    unruly = table.unruly(chains)
    table.remove([(each.set, each.key) for each in wrong], {each.owner for each in wrong})
    if unruly or absent:
        with lock():
            run(script)
            for start in range(0, len(absent), _PER_BATCH):
                table.add(absent[start : start + _PER_BATCH])
    return Rebuilt(table.name, len(unruly), len(absent))


def encode(element: Element) -> bytes:
    """The attributes of one element (NFTA_SET_ELEM_*)."""
    encoded = nested(_KEY, attribute(_VALUE, element.key))
    if isinstance(element.data, Goto):
        verdict = number(_VERDICT_CODE, _GOTO) + text(_VERDICT_CHAIN, element.data.chain)
        encoded += nested(_DATA, nested(_VERDICT, verdict))
    elif element.data is not None:
        encoded += nested(_DATA, attribute(_VALUE, element.data))
    if element.owner:
        comment = element.owner.encode() + b"\0"
        encoded += attribute(_USER_DATA, bytes((_COMMENT, len(comment))) + comment)
    return encoded


def decode(set_name: str, encoded: bytes) -> Element:
    """The inverse of `encode`."""
    fields = attributes(encoded)
    key = attributes(fields[_KEY])[_VALUE]
    return Element(set_name, key, _data(fields.get(_DATA)), _owner(fields.get(_USER_DATA, b"")))


def _elements(set_name: str, reply: bytes) -> Iterator[Element]:
    for _, encoded in rtnl.attribute_pairs(attributes(reply).get(_LIST_ELEMENTS, b"")):
        yield decode(set_name, encoded)


def _data(encoded: bytes | None) -> Union[bytes, Goto, None]:
    if encoded is None:
        return None
    fields = attributes(encoded)
    if _VERDICT in fields:
        return Goto(rtnl.string(attributes(fields[_VERDICT]).get(_VERDICT_CHAIN, b"")))
    return fields[_VALUE]


def _owner(user_data: bytes) -> str:
    """The comment among the (type, length, value) entries of an element's user data."""
    position = 0
    while position + 2 <= len(user_data):
        kind, length = user_data[position], user_data[position + 1]
        if kind == _COMMENT:
            return rtnl.string(user_data[position + 2 : position + 2 + length])
        position += 2 + length
    return ""
