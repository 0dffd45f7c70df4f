"""How the server starts: `server [--socket PATH]`, by systemd or by hand."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from cni_provision.server import catalogue
from cni_provision.server.catalogue import Catalogue
from cni_provision.server.door import Door
from cni_provision.server.log import ERROR, INFORMATION, Log
from cni_provision.server.place import SOCKET, Occupied, Place

SWITCH_SECONDS = 0.0005  # so that a greeting waits for no busy thread
USAGE = "usage: server [--socket PATH]"


def main(digests: str) -> None:
    """Serve the plugins of this archive; `digests` is its JSON text of plugin name → digest. Ends the process."""
    log = Log(os.environ)
    try:
        place = Place(socket_of(sys.argv[1:]))
        serve(place, catalogue.load(json.loads(digests)), log)
    except (Occupied, OSError) as error:
        log.line(ERROR, f"server: {error}")
        os._exit(1)
    os._exit(0)  # threads that wait for a delegate would keep the interpreter


def socket_of(arguments: Sequence[str]) -> str:
    if not arguments:
        return SOCKET
    if len(arguments) == 2 and arguments[0] == "--socket" and arguments[1]:
        return arguments[1]
    raise OSError(USAGE)


def serve(place: Place, plugins: Catalogue, log: Log) -> None:
    """Until SIGTERM or SIGINT; raises `Occupied` or OSError where it cannot begin."""
    catalogue.import_everything()
    place.take()
    passed = "LISTEN_FDS" in os.environ
    listener = place.listen(os.environ)
    os.dup2(2, 1)  # what a plugin prints by mistake
    sys.setswitchinterval(SWITCH_SECONDS)
    raise_descriptor_limit()
    gc.freeze()  # what is loaded stays: to search all of it now and then holds up callers for 3 to 7 ms
    door = Door(listener, place, plugins, log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: door.stop())
    signal.set_wakeup_fd(door.wakes, warn_on_full_buffer=False)
    notify("READY=1")
    log.line(INFORMATION, f"build {plugins.build} listens on {place.path}")
    door.run()
    notify("STOPPING=1")
    place.leave(unlink=not passed)


def raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def notify(state: str) -> None:
    """sd_notify(3)."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if target:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), "\0" + target[1:] if target.startswith("@") else target)
