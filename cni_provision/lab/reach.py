"""ProxyCommand of a lab: connects to HOST PORT in the network namespace that it runs in, and passes bytes on.

Waiting and giving up are left to `ssh` (ConnectTimeout counts until the server's greeting). Written for
`python -I -S`; `_socket` instead of `socket` halves the start, which is most of what this costs.
"""

from __future__ import annotations

import _socket
import os
import select
import sys

BLOCK = 256 * 1024


def main(host: str, port: str) -> int:
    try:
        there = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        there.connect((host, int(port)))
    except OSError as error:
        print(f"connect to host {host} port {port}: {error.strerror}", file=sys.stderr)
        return 1
    pass_on(there)
    return 0


def pass_on(there: _socket.socket) -> None:
    """Bytes both ways until the server ends; the end of stdin is passed on as well."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(there.fileno(), select.POLLIN)
    while True:
        for number, _ in poll.poll():
            block = os.read(number, BLOCK)
            if number:
                if not block:
                    return
                write_all(1, block)
            elif block:
                write_all(there.fileno(), block)
            else:
                poll.unregister(0)
                there.shutdown(_socket.SHUT_WR)


def write_all(number: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(number, view) :]


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (ConnectionError, KeyboardInterrupt):
        sys.exit(1)
