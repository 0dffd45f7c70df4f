"""What plugins have made: one small file for each attachment and plugin, so that a later call finds it.

    /run/cni-provision/attachments/<owner>.<plugin>   written before what it names is made, removed after it is gone
    /run/cni-provision/attachments/lock               a byte of it for each attachment and plugin (`held`)

DEL and GC take off what a record names even without `prevResult` and namespace; `verify --repair` rebuilds rules from
them. A record that is broken, or was not written by root, is as good as none.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

from cni_provision.cni import jsontext
from cni_provision.net import nft
from cni_provision.net.errors import NetError

DIRECTORY = "/run/cni-provision/attachments"
LOCK = "lock"
UNFINISHED = ".new"  # the end of a record's name while it is written; one that stays is a killed call's
FORMAT = 1
LONGEST = 1 << 20  # bytes: the 65,535 ports that an attachment can map have room
SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_DECODER = jsontext.Decoder(float, float)
LOCKED = struct.Struct("@hhqqi0q")  # struct flock: type, whence, start, length, pid


@dataclass(frozen=True)
class Attachment:
    """What one plugin does for one interface of one container in one network."""

    plugin: str
    network: str
    container_id: str
    ifname: str
    added: str = field(default="", compare=False)  # the token of the ADD that makes it, where it may be undone
    undoes: str = field(default="", compare=False)  # of the one that is to be undone

    @cached_property
    def owner(self) -> str:
        return nft.owner(self.network, self.container_id, self.ifname)

    @property
    def file(self) -> str:
        return f"{self.owner}.{self.plugin}"


@dataclass(frozen=True)
class Made:
    """What there is of an attachment: the host's end of its pair, and rules, noted by the modules of their names."""

    port: str = ""
    index: int = 0  # of `port`; 0: not known yet
    rules: Mapping[str, Any] = field(default_factory=dict)
    added: str = ""  # by the ADD of this token; empty: by that of its attachment


Record = tuple[Attachment, Made]
NOTHING = Made()


def write(attachment: Attachment, made: Made) -> None:
    """Note it, in place of what was noted before. Not fsynced: it means nothing after a start of the machine."""
    keys = ("plugin", "network", "container_id", "ifname")
    content = {"format": FORMAT, **{key: getattr(attachment, key) for key in keys}}
    content.update(port=made.port, index=made.index, rules=made.rules, added=made.added or attachment.added)
    final = os.path.join(DIRECTORY, attachment.file)
    try:
        _put(f"{final}{UNFINISHED}", jsontext.encode(content).encode())
        os.rename(f"{final}{UNFINISHED}", final)
    except OSError as error:
        raise NetError(error.errno or 0, f"cannot note the attachment in {DIRECTORY}: {error.strerror}") from error


def _put(path: str, content: bytes) -> None:
    """A call that was killed may have left one; nobody else can write in the folder."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def read(attachment: Attachment) -> Optional[Made]:
    found = _read(attachment.file)
    return found[1] if found and found[0] == attachment else None


def remove(attachment: Attachment) -> None:
    """Nothing is left of the attachment."""
    _forget(attachment.file)
    _forget(f"{attachment.file}{UNFINISHED}")


def _forget(name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(DIRECTORY, name))


def restore(attachment: Attachment, before: Optional[Made]) -> None:
    """As it was before a call that failed."""
    if before:
        write(attachment, before)
    else:
        remove(attachment)


def gc(plugin: str, network: str, valid: Collection[str]) -> None:
    """Forget the attachments of `network` whose owner is not in `valid`, when everything of theirs is gone."""
    for attachment, _ in of_network(plugin, network):
        if attachment.owner not in valid:
            with held_if_free(attachment) as free:
                if free:
                    remove(attachment)
    start, end = nft.of_network(network), f".{plugin}{UNFINISHED}"
    for name in os.listdir(DIRECTORY) if os.path.isdir(DIRECTORY) else []:
        if name.startswith(start) and name.endswith(end):
            with _held_if_free(name.partition(".")[0], plugin) as free:
                if free:
                    _forget(name)


def of_network(plugin: str, network: str) -> list[Record]:
    """The records of one plugin in one network."""
    wanted = (plugin, network)
    start, end = nft.of_network(network), f".{plugin}"
    found = (_read(name) for name in _names() if name.startswith(start) and name.endswith(end))
    return [one for one in found if one and (one[0].plugin, one[0].network) == wanted]


def of_plugin(plugin: str) -> Iterator[Record]:
    """The records of one plugin in all networks, read one by one: who looks for one stops there."""
    found = (_read(name) for name in _names() if name.endswith(f".{plugin}"))
    return (one for one in found if one and one[0].plugin == plugin)


def every() -> list[Record]:
    """All records that can be read, in the order of their files' names."""
    return [one for one in map(_read, sorted(_names())) if one]


def _names() -> list[str]:
    try:
        return [name for name in os.listdir(DIRECTORY) if not name.endswith(UNFINISHED)]
    except FileNotFoundError:
        return []


def _read(name: str) -> Optional[Record]:
    try:
        content = _DECODER.decode(_content(os.path.join(DIRECTORY, name)).decode())
        return _decoded(content) if content["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _decoded(content: Mapping[str, Any]) -> Record:
    texts = [content[key] for key in ("plugin", "network", "container_id", "ifname", "port")]
    index, rules = content["index"], content["rules"]
    if not (all(isinstance(one, str) for one in texts) and type(index) is int and isinstance(rules, dict)):
        raise TypeError("not a record")
    if not SIGNS.issuperset(content["network"]) or content["network"][:1] in "_.-":  # it goes into nft scripts
        raise ValueError("not a network")
    return Attachment(*texts[:4]), Made(texts[4], index, rules, str(content.get("added", "")))


def _content(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_size > LONGEST:
            return b""
        return os.read(descriptor, about.st_size)
    finally:
        os.close(descriptor)


@contextmanager
def held(attachment: Attachment) -> Iterator[None]:
    """No other call of this plugin for this attachment meanwhile, be it another thread's or process's.

    It may be taken inside that of another plugin (which delegates to this one), and outside the nft and lease locks.
    Raises NetError for an undo where somebody else has added the attachment since.
    """
    descriptor = _locked(attachment.owner, attachment.plugin, fcntl.F_OFD_SETLKW)
    try:
        if attachment.undoes:
            _refuse_later(attachment)
        yield
    finally:
        os.close(descriptor)


def _refuse_later(attachment: Attachment) -> None:
    made = read(attachment)
    if made and made.added != attachment.undoes:
        raise NetError(errno.ESTALE, "nothing is undone: there is a later ADD of this attachment")


def held_if_free(attachment: Attachment) -> AbstractContextManager[bool]:
    """As `held`, but False at once where a call is under way."""
    return _held_if_free(attachment.owner, attachment.plugin)


@contextmanager
def _held_if_free(owner: str, plugin: str) -> Iterator[bool]:
    try:
        descriptor = _locked(owner, plugin, fcntl.F_OFD_SETLK)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _locked(owner: str, plugin: str, command: int) -> int:
    descriptor = _lock_file()
    start = int(owner[:14], 16) ^ int.from_bytes(plugin.encode()[:6], "big")
    wanted = LOCKED.pack(fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
    try:
        fcntl.fcntl(descriptor, command, wanted)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock_file() -> int:
    path, flags = os.path.join(DIRECTORY, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(DIRECTORY), mode=0o755, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(DIRECTORY, 0o700)
        return os.open(path, flags, 0o600)
