"""The process that keeps leases: `dhcp daemon [options]`, by systemd (with its socket or without) or by hand."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from cni_provision.dhcp import store
from cni_provision.dhcp.lease import Gone, Held, Keeper, NoMoreTries, Patience, Wishes, acquire, release
from cni_provision.dhcp.question import FOREIGN, SOCKET, TO_FOREIGN, Interface, read_line

FIRST_PASSED = 3
BACKLOG = 128
SECONDS_FOR_A_QUESTION = 10.0
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
USAGE = """\
usage: dhcp daemon [-pidfile PATH] [-hostprefix PATH] [-socketpath PATH] [-broadcast]
                   [-timeout 10s] [-resendmax 62s] [-resendtimeout 208s]"""
TRY_AGAIN_LATER, NOT_THERE, FAILED = 11, 101, 999


class Wrong(Exception):
    """Options that cannot be used."""


@dataclass(frozen=True)
class Options:
    """The reference's options."""

    pidfile: str = ""
    hostprefix: str = ""
    socketpath: str = SOCKET
    broadcast: bool = False
    patience: Patience = field(default_factory=Patience)

    @property
    def folder(self) -> str:
        return self.hostprefix + store.FOLDER

    @property
    def socket(self) -> str:
        return self.hostprefix + self.socketpath


def options_of(arguments: Sequence[str]) -> Options:
    """`-name value`, `-name=value`, one dash or two."""
    texts: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, given, value = rest.pop(0).lstrip("-").partition("=")
        if name not in ("pidfile", "hostprefix", "socketpath", "broadcast", "timeout", "resendmax", "resendtimeout"):
            raise Wrong(f"`{name}` is no option\n{USAGE}")
        if not given and name != "broadcast":
            if not rest:
                raise Wrong(f"`-{name}` needs a value\n{USAGE}")
            value = rest.pop(0)
        texts[name] = value
    if texts.get("pidfile") and not texts["pidfile"].startswith("/"):
        raise Wrong(f"`-pidfile` must be an absolute path, not `{texts['pidfile']}`")
    patience = Patience(*(seconds(texts.get(name), usual) for name, usual in
                          (("timeout", 10.0), ("resendmax", 62.0), ("resendtimeout", 208.0))))  # fmt: skip
    broadcast = texts.get("broadcast", "false").lower() in ("", "1", "t", "true")
    return Options(texts.get("pidfile", ""), texts.get("hostprefix", ""), texts.get("socketpath") or SOCKET,
                   broadcast, patience)  # fmt: skip


def seconds(text: Optional[str], usual: float) -> float:
    """`1m30s`, `500ms`, as Go writes durations."""
    if text is None:
        return usual
    total, number, left = 0.0, "", text
    while left:
        if left[0].isdigit() or left[0] == ".":
            number, left = number + left[0], left[1:]
            continue
        unit = left[:2] if left[:2] in UNITS else left[:1]
        if unit not in UNITS or not number:
            raise Wrong(f"`{text}` is no duration such as 10s or 1m30s")
        total, number, left = total + float(number) * UNITS[unit], "", left[len(unit) :]
    if number:
        raise Wrong(f"`{text}` is no duration such as 10s or 1m30s")
    return total


class Daemon:
    """The leases, and what is asked about them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._keepers: dict[Interface, Keeper] = {}
        self._busy: dict[Interface, threading.Lock] = {}
        self._lock = threading.Lock()

    def adopt(self) -> int:
        """Go on with the leases of the daemon before; how many."""
        found = [held for held in store.every(self._options.folder) if held.lasting]
        for held in found:
            self._keep(held)
        return len(found)

    def answer(self, question: Mapping[str, Any]) -> Any:
        interface = interface_of(question)
        verb = question["verb"]
        if verb == "STATUS":
            return {"leases": len(self._keepers)}
        if verb == "GC":
            return self._gc(interface.network, {tuple(one) for one in question["valid"]})
        with self._turn(interface):
            if verb == "DEL":
                return self._forget(key(interface), tell_server=True)
            if verb == "CHECK":
                return self._check(interface)
            return self._add(interface, wishes_of(question, self._options))

    def take_back(self, question: Mapping[str, Any]) -> None:
        """Who asked for a lease is gone before it had the answer."""
        if question["verb"] == "ADD":
            self._forget(key(interface_of(question)), tell_server=True)

    def _add(self, interface: Interface, wishes: Wishes) -> Any:
        there = self._keepers.get(key(interface))
        if there and there.live and there.held.interface == interface:
            return shown(there.held)
        self._forget(key(interface), tell_server=True)
        held = acquire(interface, wishes, self._options.patience, lambda pause: threading.Event().wait(pause))
        if held.terms.address is None:
            release(held)
            raise Refused(FAILED, "DHCP option Subnet Mask not found in DHCPACK")
        store.keep(self._options.folder, held)
        self._keep(held)
        log(f"{interface.client}: got {held.terms.address} for {held.terms.seconds[2]} s")
        return shown(held)

    def _check(self, interface: Interface) -> Any:
        there = self._keepers.get(key(interface))
        if there is None or not there.live or there.held.interface.identity != interface.identity:
            raise Refused(NOT_THERE, f"there is no DHCP lease for `{interface.ifname}`")
        return shown(there.held)

    def _gc(self, network: str, valid: set[tuple[str, str]]) -> Any:
        stale = [one for one in list(self._keepers) if one.network == network]
        stale = [one for one in stale if (one.container_id, one.ifname) not in valid]
        for one in stale:
            with self._turn(one):
                self._forget(one, tell_server=True)
        return {}

    def _keep(self, held: Held) -> None:
        keeper = Keeper(held, self._options.patience, self._changed)
        self._keepers[key(held.interface)] = keeper
        keeper.start()

    def _forget(self, interface: Interface, *, tell_server: bool) -> Any:
        store.forget(self._options.folder, interface)
        keeper = self._keepers.pop(interface, None)
        if keeper:
            keeper.end(tell_server=tell_server)
            log(f"{interface.client}: given back")
        return {}

    def _changed(self, keeper: Keeper, held: Optional[Held], how: str) -> None:
        interface = key(keeper.held.interface)
        log(f"{interface.client}: {how}")
        if held:
            store.keep(self._options.folder, held)
        elif self._keepers.get(interface) is keeper:
            self._forget(interface, tell_server=False)

    def _turn(self, interface: Interface) -> threading.Lock:
        """One question about an interface at a time."""
        with self._lock:
            return self._busy.setdefault(key(interface), threading.Lock())


class Refused(Exception):
    """An answer that is an error, with its code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def key(interface: Interface) -> Interface:
    """What names an interface also when its namespace is not said."""
    return replace(interface, netns="", identity=(0, 0))


def interface_of(question: Mapping[str, Any]) -> Interface:
    network, container_id, ifname, path, device, inode = question["interface"]
    return Interface(str(network), str(container_id), str(ifname), str(path), (int(device), int(inode)))


def wishes_of(question: Mapping[str, Any], options: Options) -> Wishes:
    own = {int(number): bytes.fromhex(value) for number, value in question["options"].items()}
    wanted = tuple(map(int, question["wanted"]))
    return Wishes(own, wanted, int(question["priority"]), options.broadcast, options.hostprefix)


def shown(held: Held) -> dict[str, Any]:
    """What the plugin makes a result of."""
    terms = held.terms
    return {
        "address": str(terms.address),
        "gateway": str(terms.gateway or ""),
        "routes": [[str(destination), str(gateway or "")] for destination, gateway in terms.routes],
        "nameservers": list(map(str, terms.name_servers)),
        "domain": terms.domain,
    }


def serve_one(connection: socket.socket, daemon: Daemon) -> None:
    """One question and its answer."""
    with connection:
        try:
            connection.settimeout(SECONDS_FOR_A_QUESTION)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            line = read_line(connection)
            if line.startswith(FOREIGN):
                connection.sendall(TO_FOREIGN)
                return
            if struct.unpack("=iII", credentials)[1] != os.geteuid():
                return
            question = json.loads(line)
            told = reply(daemon, question)
        except (OSError, ValueError) as error:
            log(f"a question that is none: {error}")
            return
        try:
            connection.sendall(json.dumps(told).encode() + b"\n")
            if connection.recv(1) != b"\n":  # it has read the answer
                raise OSError("it went away")
        except OSError:
            if "answer" in told:
                daemon.take_back(question)


def reply(daemon: Daemon, question: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": daemon.answer(question)}
    except Refused as error:
        return {"code": error.code, "error": str(error)}
    except NoMoreTries as error:
        return {"code": TRY_AGAIN_LATER, "error": error.strerror}
    except (Gone, OSError, KeyError, TypeError) as error:
        return {"code": FAILED, "error": str(getattr(error, "strerror", None) or error)}


def listener(options: Options, environment: Mapping[str, str]) -> tuple[socket.socket, bool]:
    """The socket to listen on, and whether systemd made it."""
    passed = int(environment.get("LISTEN_FDS", "0")) if environment.get("LISTEN_PID") == str(os.getpid()) else 0
    if passed > 1:
        raise Wrong(f"{passed} sockets were passed, one is needed")
    if passed:
        return socket.socket(fileno=FIRST_PASSED), True
    os.makedirs(os.path.dirname(options.socket), mode=0o700, exist_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    if answers(options.socket):
        raise Wrong(f"a DHCP daemon listens on `{options.socket}` already")
    with suppress(FileNotFoundError):
        os.unlink(options.socket)  # of one that was killed
    made.bind(options.socket)
    os.chmod(options.socket, 0o600)
    made.listen(BACKLOG)
    return made, False


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def log(line: str) -> None:
    sys.stderr.write(f"dhcp: {line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Until SIGTERM or SIGINT, which gives no lease back: the next daemon goes on with them."""
    try:
        options = options_of(arguments)
        taken, passed = listener(options, environment)
    except (Wrong, OSError) as error:
        log(str(error))
        return 1
    woken, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if options.pidfile:
        with open(options.pidfile, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    daemon = Daemon(options)
    log(f"listens on {options.socket}, goes on with {daemon.adopt()} leases")
    while woken not in select.select([taken.fileno(), woken], [], [])[0]:
        with suppress(OSError):
            connection, _ = taken.accept()
            threading.Thread(target=serve_one, args=(connection, daemon), daemon=True).start()
    for path in ([] if passed else [options.socket]) + ([options.pidfile] if options.pidfile else []):
        with suppress(FileNotFoundError):
            os.unlink(path)
    return 0
