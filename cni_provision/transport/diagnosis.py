"""What the end of a session means: stderr and exit code in, `Unreachable`, `Denied` or `NodeFailed` out (pure).

Messages are the exact line of the program that failed (`ssh`, `sudo`, `doas`, the node's shell); tables
below find that line and know how to mend it. ssh(1): exit status 255 is ssh's own, anything else is the
remote program's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cni_provision.errors import Denied, NodeError, NodeFailed, Unreachable
from cni_provision.node.boot import NO_PYTHON, NO_PYTHON_HINT

SSH_FAILED = 255
CUT_OFF_HINT = "the node finishes or undoes by itself; run again to see which"
Row = tuple[str, str | None]

# a line of ssh's stderr, and how to mend it; the first row with a line wins
SSH_ROWS: tuple[Row, ...] = (
    (
        r"^Host key for .* has changed",
        "the node was installed anew, or somebody sits between: compare `ssh-keyscan NODE | ssh-keygen -lf -` with"
        " the key on the node's console, and only then remove the old one with `ssh-keygen -R NODE`",
    ),
    (
        r"^No \S+ host key is known for",
        "log in once with `ssh`, compare the fingerprint and accept it; or use host certificates",
    ),
    (r"^Host key verification failed", "`ssh NODE` by hand shows what is wrong with the node's host key"),
    (r"Permission denied \(", "`ssh NODE true` must work without a question; `-k` asks for a login password"),
    (
        r"Too many authentication failures",
        "offer fewer keys: `IdentitiesOnly yes` and `ansible_ssh_private_key_file`",
    ),
    (r"Could not resolve hostname", "set `ansible_host`, or add the name to DNS or to your ssh configuration"),
    (r"Connection refused", "is an SSH server running there, and is `ansible_port` right?"),
    (r"No route to host|Network is unreachable", "is the node up, and is there a way to its network from here?"),
    (r"timed out", "is the node up, and does a firewall drop packets to its SSH port?"),
    (
        r"^(kex_exchange_identification|ssh_exchange_identification|Connection (closed|reset) by)",
        "the SSH server turned it away; many at once need a larger `MaxStartups` there, or fewer `--forks`",
    ),
    (
        r"(closed by remote host|Broken pipe|Timeout, server .* not responding)",
        "the connection was lost; run again: the node keeps either the old or the new state",
    ),
    (r"Bad configuration option|Bad owner or permissions", "mend your ssh configuration; `ssh -G NODE` reads it"),
)

DENIED_ROWS: tuple[Row, ...] = (
    (
        r"sudo: a (terminal|password) is (required|needed)",
        "give the sudo password with `-K` or `--become-password-file`",
    ),
    (
        r"sudo: .*must have a tty|sudo: no tty present",
        "`Defaults requiretty` in sudoers forbids this: remove it for the login user (`Defaults:USER !requiretty`)",
    ),
    (r"sudo: \d+ incorrect password attempt", "the sudo password was wrong"),
    (r"is not in the sudoers file|is not allowed to (run|execute)", "allow the login user to run commands as root"),
    (r"sudo: .*(account|password) (has )?(expired|validation failure)", "the login user's password must be renewed"),
    (
        r"(sudo|doas): (command )?not found",
        "install it, or set `ansible_become_method` to the other of sudo and doas",
    ),
    (r"doas: Authentication (required|failed)", "give the right password with `-K`, or allow the user with `nopass`"),
    (r"doas: (a tty is required|.*not enabled|Operation not permitted)", "permit the login user in /etc/doas.conf"),
    (r"^(sudo|doas): ", None),
)

PROGRAM_ROWS: tuple[Row, ...] = (
    (NO_PYTHON, NO_PYTHON_HINT),
    (r"This account is (currently )?not available", "give the login user a shell"),
    (r"No space left on device", "free space on the node"),
)


def of_ssh(node: str, stderr: str, code: int) -> NodeError:
    """The end of an `ssh` process before the node program had answered."""
    if code != SSH_FAILED:
        return of_program(node, stderr, code)
    message, hint = _told(stderr, SSH_ROWS)
    if not message:
        # ssh is silent about a remote program that a signal ended
        return NodeFailed("the node's program was killed, or the connection cut", node=node, hint=CUT_OFF_HINT)
    return Unreachable(message, node=node, hint=hint and _named(hint, node))


def of_program(node: str, stderr: str, code: int) -> NodeError:
    """The end of the program on the node, or of what should have made it root."""
    denied = _find(stderr, DENIED_ROWS)
    if denied:
        return Denied(denied[0], node=node, hint=denied[1])
    message, hint = _told(stderr, PROGRAM_ROWS)
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return NodeFailed(message or f"the node's program ended with {ended} and said nothing", node=node, hint=hint)


def _told(stderr: str, rows: Iterable[Row]) -> tuple[str, str | None]:
    """The line that a row knows and its hint, else the last line."""
    lines = _lines(stderr)
    return _find(stderr, rows) or (lines[-1] if lines else "", None)


def _find(stderr: str, rows: Iterable[Row]) -> Row | None:
    lines = _lines(stderr)
    found = ((line, hint) for pattern, hint in rows for line in lines if re.search(pattern, line))
    return next(found, None)


def _lines(stderr: str) -> list[str]:
    stripped = (line.strip().rstrip(".") for line in stderr.splitlines())
    return [line for line in stripped if line]


def _named(hint: str, node: str) -> str:
    return hint.replace("NODE", node) if node else hint
