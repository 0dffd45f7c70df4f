"""Who can log in to a lab node, besides root: one user for each way to become root."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PASSWORD = "lab-password"  # noqa: S105 (good for nothing outside of a lab)
# sha512crypt of PASSWORD, made once: Python 3.13 has no `crypt` any more
HASH = "$6$cniprovision$X7fHIvC9UxyqEy5IODZ6f4kEKLMBiJME2HbivZGl9XfKXOxolHBpi1mv54ww1YqBxim6Pl3xy2pkjW5k9a8qu1"


@dataclass(frozen=True)
class User:
    """`sudo` and `doas`: lines of sudoers(5) and doas.conf(5); `bashrc`: what bash runs at a login."""

    name: str
    number: int
    about: str
    sudo: str = ""
    doas: str = ""
    bashrc: str = ""


USERS = (
    User("ops", 4201, "root with a password", "ops ALL=(ALL:ALL) ALL", "permit ops"),
    User("deploy", 4202, "root without one", "deploy ALL=(ALL:ALL) NOPASSWD: ALL", "permit nopass deploy"),
    User("guest", 4203, "never root"),
    User(
        "typist",
        4204,
        "sudo wants a terminal",
        "Defaults:typist requiretty\ntypist ALL=(ALL:ALL) NOPASSWD: ALL",
    ),
    User(
        "noisy",
        4205,
        "root without a password, and a login that talks",
        "noisy ALL=(ALL:ALL) NOPASSWD: ALL",
        bashrc="printf 'Welcome!\\0CNI\\n%s\\n' \"$(date)\"\necho 'have a nice day' >&2\n",
    ),
)

SUDOERS = """\
Defaults env_reset, use_pty
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
"""


def sudoers() -> str:
    """/etc/sudoers of a node, with nothing of this machine's."""
    return SUDOERS + _lines(user.sudo for user in USERS)


def doas() -> str:
    """/etc/doas.conf of a node."""
    return _lines(user.doas for user in USERS)


def passwd(machine: str) -> str:
    """The node's /etc/passwd: this machine's, and ours."""
    return machine + _lines(
        f"{user.name}:x:{user.number}:{user.number}::/home/{user.name}:/bin/bash" for user in USERS
    )


def group(machine: str) -> str:
    return machine + _lines(f"{user.name}:x:{user.number}:" for user in USERS)


def shadow(machine: str) -> str:
    """The node's /etc/shadow: this machine's accounts cannot log in, ours have PASSWORD."""
    accounts = (line.split(":")[0] for line in machine.splitlines() if line)
    return _lines(f"{name}:*:19000:0:99999:7:::" for name in accounts) + _lines(
        f"{user.name}:{HASH}:19000:0:99999:7:::" for user in USERS
    )


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts if text)
