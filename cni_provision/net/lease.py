"""Leases of addresses, on disk as the reference `host-local` keeps them, and the choice of the next one.

    <dataDir>/<network>/<address>             "<container id>\\r\\n<ifname>" (by old versions: the container id alone)
    <dataDir>/<network>/last_reserved_ip.<N>  where the search in range set N goes on
    <dataDir>/<network>/lock                  flock(2), held over every look and change

Choosing (`candidates`) is pure; `Store` does what touches the disk.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)
from typing import Union

from cni_provision.net import lease_index
from cni_provision.net.lease_index import Index

Address = Union[IPv4Address, IPv6Address]
Interface = Union[IPv4Interface, IPv6Interface]
Network = Union[IPv4Network, IPv6Network]

_LAST = "last_reserved_ip."
_LOCK = "lock"
_LINE_BREAK = "\r\n"
TRIES = 64  # addresses one after the other that are tried before the directory is listed
_IPV6_SIGNS = frozenset("0123456789abcdef:.")


@dataclass(frozen=True)
class Range:
    """Addresses from `start` to `end`, both included, in `subnet`; the gateway is never given out."""

    subnet: Network
    start: Address
    end: Address
    gateway: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.start.version and int(self.start) <= int(address) <= int(self.end)

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"

    @property
    def size(self) -> int:
        """How many addresses can be given out."""
        return int(self.end) - int(self.start) + 1 - (self.gateway in self)

    def interface(self, address: Address) -> Interface:
        return ip_interface((address.packed, self.subnet.prefixlen))

    def overlaps(self, other: Range) -> bool:
        return other.start in self or other.end in self or self.start in other


RangeSet = tuple[Range, ...]


@dataclass(frozen=True)
class Attachment:
    container_id: str
    ifname: str

    @property
    def content(self) -> str:
        """What an address file of this attachment holds."""
        return f"{self.container_id}{_LINE_BREAK}{self.ifname}"


def container_of(content: str) -> str:
    """The container id in an address file."""
    return content.partition(_LINE_BREAK)[0]


def last_usable(subnet: Network) -> Address:
    """The last address that can be given out: of IPv4 the one before the broadcast address."""
    return subnet.broadcast_address - 1 if subnet.version == 4 else subnet.broadcast_address


def describe(ranges: RangeSet) -> str:
    return ",".join(map(str, ranges))


def range_of(ranges: RangeSet, address: Address) -> Range | None:
    return next((each for each in ranges if address in each), None)


def candidates(ranges: RangeSet, last: Address | None) -> Iterator[tuple[Address, Range]]:
    """Every address of a range set once, lazily: the one after `last` first, `last` itself at the end."""
    found = range_of(ranges, last) if last is not None else None
    if found is None or last is None:
        spans = [(each, int(each.start), int(each.end)) for each in ranges]
    else:
        index = ranges.index(found)
        others = ranges[index + 1 :] + ranges[:index]
        spans = [(found, int(last) + 1, int(found.end))]
        spans += [(each, int(each.start), int(each.end)) for each in others]
        spans.append((found, int(found.start), int(last)))
    for each, first, final in spans:
        kind = type(each.start)
        for value in itertools.takewhile(final.__ge__, itertools.count(first)):
            if value != int(each.gateway):
                yield kind(value), each


def refuse_second(ranges: RangeSet, held: Sequence[Address], attachment: Attachment) -> None:
    """An attachment gets one address of each range set; `held` are those that it has already."""
    for address in held:
        if range_of(ranges, address):
            owner = attachment.container_id
            raise NotAvailable(f"{address} has been allocated to {owner}, duplicate allocation is not allowed")


class NotAvailable(ValueError):
    """No address can be given; the text says which range set or which request."""


def allocate(
    store: Store, index: int, ranges: RangeSet, attachment: Attachment, requested: Address | None = None
) -> tuple[Interface, Address]:
    """Reserve one address of range set number `index`: (address with prefix length, gateway)."""
    if requested is None:
        address, span = _reserve_next(store, index, ranges, attachment)
    else:
        address, span = requested, _range_of_request(ranges, requested)
        if not store.reserve(address, attachment):
            raise NotAvailable(f"requested IP address {address} is not available in range set {describe(ranges)}")
    store.note_last(index, address, attachment)
    return span.interface(address), span.gateway


def _reserve_next(store: Store, index: int, ranges: RangeSet, attachment: Attachment) -> tuple[Address, Range]:
    """The first free one; the directory is listed only where many in a row are taken."""
    following = candidates(ranges, store.last(index))
    for address, span in itertools.islice(following, TRIES):
        if store.reserve(address, attachment):
            return address, span
    taken = store.names()
    for address, span in following:
        if str(address) not in taken and store.reserve(address, attachment):
            return address, span
    raise NotAvailable(f"no IP addresses available in range set: {describe(ranges)}")


def _range_of_request(ranges: RangeSet, address: Address) -> Range:
    span = range_of(ranges, address)
    if span is None:
        raise NotAvailable(f"{address} not in range set {describe(ranges)}")
    if address == span.gateway:
        raise NotAvailable(f"requested ip {address} is subnet's gateway")
    return span


class Store:
    """The leases of one network, under the lock: get one from `opened`."""

    def __init__(self, directory: str, index: Index) -> None:
        self.directory = directory
        self._index = index

    def reserve(self, address: Address, attachment: Attachment) -> bool:
        """Write the lease; False if the address is taken.

        Not fsynced: after a power failure the container is gone as well, and a file that lost its content
        counts as free.
        """
        name = str(address)
        try:
            self._create(name, attachment.content)
        except FileExistsError:
            if self._read(name):
                return False
            self._write(name, attachment.content)
        except OSError:
            self._unlink(name)
            raise
        self._index.add(attachment.container_id, name)
        return True

    def note_last(self, index: int, address: Address, attachment: Attachment) -> None:
        """Where the search in range set number `index` goes on; where that cannot be written, the lease goes, too."""
        try:
            self._write(f"{_LAST}{index}", str(address))
        except OSError:
            self.release(attachment, [address])
            raise

    def last(self, index: int) -> Address | None:
        """The address that was given out last from range set number `index`."""
        try:
            return ip_address(self._read(f"{_LAST}{index}"))
        except (OSError, ValueError):
            return None

    def names(self) -> frozenset[str]:
        """The taken addresses as text, in one look at the directory."""
        return frozenset(self._names())

    def owned(self, attachment: Attachment) -> tuple[Address, ...]:
        """The addresses of one attachment; those in files of its container alone where it has no others."""
        contents = self._of_container(attachment.container_id)
        for holder in (attachment.content, attachment.container_id):
            found = tuple(ip_address(name) for name, content in contents.items() if content == holder)
            if found:
                return found
        return ()

    def _of_container(self, container_id: str) -> dict[str, str]:
        """Content by address, at least of the leases of one container: those that the index names, else all."""
        names = self._index.addresses(container_id)
        if names is not None:
            contents = {name: self._content(name) for name in names}
            if all(container_of(content) == container_id for content in contents.values()):
                return contents
        leases = dict(self._leases())
        self._index.rebuild((name, container_of(content)) for name, content in leases.items())
        return leases

    def holds(self, attachment: Attachment, address: Address) -> bool:
        return self._content(str(address)) in (attachment.content, attachment.container_id)

    def release(self, attachment: Attachment, addresses: Sequence[Address]) -> None:
        """Give back those of `addresses` that `attachment` has; anybody else's stay."""
        for name in map(str, addresses):
            content = self._content(name)
            if content in (attachment.content, attachment.container_id):
                self._unlink(name)
                self._index.discard(container_of(content), name)

    def retain(self, valid: Collection[Attachment]) -> tuple[Address, ...]:
        """Give back whatever belongs to no attachment of `valid`, and say what that was."""
        contents = {each.content for each in valid} | {each.container_id for each in valid}
        stale = [(name, content) for name, content in self._leases() if content not in contents]
        for name, content in stale:
            self._unlink(name)
            self._index.discard(container_of(content), name)
        return tuple(ip_address(name) for name, _ in stale)

    def close(self) -> None:
        """Nothing more is changed: the last thing to do under the lock."""
        self._index.seal()

    def _leases(self) -> Iterator[tuple[str, str]]:
        """(address, content) of each lease; files without content, left by a crash, are removed on the way."""
        for name in self._names():
            content = self._read(name)
            if content:
                yield name, content
            else:
                self._unlink(name)

    def _names(self) -> list[str]:
        return [name for name in os.listdir(self.directory) if _is_address(name)]

    def _content(self, name: str) -> str:
        """Nothing where there is no such lease."""
        with suppress(OSError):
            return self._read(name)
        return ""

    def _read(self, name: str) -> str:
        descriptor = self._open(name, os.O_RDONLY)
        try:
            return os.read(descriptor, 4096).decode(errors="replace").strip(" \t\r\n\0")
        finally:
            os.close(descriptor)

    def _create(self, name: str, content: str) -> None:
        descriptor = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, content.encode())
        finally:
            os.close(descriptor)

    def _write(self, name: str, content: str) -> None:
        """Replace the content. Never O_TRUNC: ext4 then waits for the disk, 2 ms where all else of ADD takes 3."""
        descriptor = self._open(name, os.O_WRONLY | os.O_CREAT)
        try:
            written = os.write(descriptor, content.encode())
            if os.fstat(descriptor).st_size > written:
                os.ftruncate(descriptor, written)
        finally:
            os.close(descriptor)

    def _open(self, name: str, flags: int) -> int:
        return os.open(f"{self.directory}/{name}", flags | os.O_CLOEXEC, 0o600)

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(f"{self.directory}/{name}")


@contextmanager
def opened(directory: str, indexes: str = lease_index.ROOT) -> Iterator[Store]:
    """The store in `directory`, made if it is not there, and locked as the reference plugin locks it."""
    descriptor = _lock_file(directory)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        store = Store(directory, Index(directory, indexes))
        yield store
        store.close()
    finally:
        os.close(descriptor)


def _lock_file(directory: str) -> int:
    path, flags = os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is_address(name: str) -> bool:
    head, colon, _ = name.partition(":")
    if colon:
        return "." not in head and _IPV6_SIGNS.issuperset(name)
    parts = name.split(".")
    return len(parts) == 4 and all(part.isdecimal() for part in parts)
