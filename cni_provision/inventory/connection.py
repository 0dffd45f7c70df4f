"""Ansible's connection variables to a `Connection`."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.located import Located, type_name
from cni_provision.inventory.model import Connection
from cni_provision.inventory.tree import Variables

KINDS = {"ssh": "ssh", "smart": "ssh", "local": "local", "lab": "lab", "memory": "memory"}
BECOME_METHODS = ("sudo", "doas")
DISCOVERED = ("auto", "auto_silent", "auto_legacy", "auto_legacy_silent")
PORTS = range(1, 65536)
# Of two names of one thing Ansible takes the ssh plugin's own.
HOST = ("ansible_ssh_host", "ansible_host")
PORT = ("ansible_ssh_port", "ansible_port")
USER = ("ansible_ssh_user", "ansible_user")
KEY = ("ansible_ssh_private_key_file", "ansible_private_key_file")
TIMEOUT = ("ansible_ssh_timeout", "ansible_timeout")
ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
PASSWORDS = {
    "ansible_password": "-k",
    "ansible_ssh_pass": "-k",
    "ansible_ssh_password": "-k",
    "ansible_become_pass": "-K",
    "ansible_become_password": "-K",
}
# What would weaken a check or run another program, and how it is done instead.
UNUSED = {
    "ansible_host_key_checking": "host keys are always checked: add the nodes' keys to `known_hosts`",
    "ansible_ssh_host_key_checking": "host keys are always checked: add the nodes' keys to `known_hosts`",
    "ansible_ssh_executable": "`ssh` is the first on PATH",
    "ansible_become_exe": "`sudo` and `doas` are those on the PATH of the login user",
}
CONNECTION_VARIABLES = frozenset(
    HOST + PORT + USER + KEY + TIMEOUT + ARGUMENTS + tuple(PASSWORDS)
    + (
        "ansible_connection", "ansible_python_interpreter", "ansible_become", "ansible_become_method",
        "ansible_become_user", "ansible_become_flags", "ansible_become_exe", "ansible_ssh_host_key_checking",
        "ansible_host_key_checking", "ansible_ssh_executable", "ansible_ssh_pipelining", "ansible_pipelining",
        "ansible_ssh_retries", "ansible_shell_type", "ansible_shell_executable", "ansible_ssh_transfer_method",
    )
)  # fmt: skip
YES, NO = ("yes", "on", "true", "1", "y", "t"), ("no", "off", "false", "0", "n", "f")

Read = Callable[[str], "Located | None"]


@dataclass
class ConnectionReader:
    """Reads one node's connection; `read` gives a variable's evaluated value, `raw` has them as written.

    `defaults` (of `ansible.cfg`) hold where the inventory has nothing, by the last of several names.
    """

    name: str
    read: Read
    raw: Variables
    complaints: Complaints
    defaults: Variables = field(default_factory=dict)

    def connection(self) -> Connection:
        """Everything that the inventory says about reaching the node."""
        self.warn_of_unused()
        return Connection(
            kind=self.kind(),
            host=self.text(*HOST) or self.name,
            port=self.number(*PORT),
            user=self.text(*USER),
            private_key=self.path(*KEY),
            ssh_args=self.arguments(),
            become=self.truth("ansible_become"),
            become_method=self.become_method(),
            become_user=self.text("ansible_become_user") or "root",
            become_flags=self.text("ansible_become_flags"),
            python=self.python(),
            timeout=self.number(*TIMEOUT),
        )

    def first(self, *names: str) -> tuple[str, Located] | None:
        """The first of several variables that is set and not empty."""
        found = [(name, self.read(name)) for name in names] + [(names[-1], self.defaults.get(names[-1]))]
        return next(((name, item) for name, item in found if item and item.value not in (None, "")), None)

    def text(self, *names: str) -> str | None:
        found = self.first(*names)
        if not found:
            return None
        name, item = found
        if isinstance(item.value, (dict, list, bool)):
            self.complaints.error(f"`{name}` must be text, not {type_name(item.value)}", item)
            return None
        return str(item.value)

    def number(self, *names: str) -> int | None:
        """A positive number; ports are checked as such."""
        found = self.first(*names)
        if not found:
            return None
        name, item = found
        value = str(item.value)
        if isinstance(item.value, bool) or not value.isdigit() or (names == PORT and int(value) not in PORTS):
            what = "a port (1 to 65535)" if names == PORT else "a whole number"
            self.complaints.error(f"`{name}` is not {what}: `{value}`", item)
            return None
        return int(value)

    def truth(self, name: str) -> bool:
        found = self.first(name)
        item = found[1] if found else None
        word = str(item.value).lower() if item else "false"
        if item and word not in YES + NO:
            self.complaints.error(f"`{name}` is neither true nor false: `{item.value}`", item)
        return word in YES

    def kind(self) -> str:
        found = self.first("ansible_connection")
        if not found:
            return "ssh"
        word = str(found[1].value).removeprefix("ansible.builtin.")
        if word not in KINDS:
            hint = "one of `ssh`, `local`, `lab`"
            self.complaints.error(f"there is no connection `{found[1].value}`", found[1], hint)
        return KINDS.get(word, "ssh")

    def become_method(self) -> str:
        found = self.first("ansible_become_method")
        if not found:
            return "sudo"
        word = re.sub(r"^(?:ansible\.builtin|community\.general)\.", "", str(found[1].value))
        if word not in BECOME_METHODS:
            self.complaints.error(f"cannot become root by `{found[1].value}`", found[1], "`sudo` or `doas`")
        return word

    def python(self) -> str | None:
        text = self.text("ansible_python_interpreter")
        return None if text in DISCOVERED else text

    def path(self, *names: str) -> str | None:
        text = self.text(*names)
        return os.path.expanduser(text) if text else None

    def arguments(self) -> tuple[str, ...]:
        """All three variables' words, in the order in which Ansible passes them."""
        words: list[str] = []
        for name in ARGUMENTS:
            text = self.text(name)
            try:
                words += shlex.split(text or "")
            except ValueError as error:
                item: Any = self.read(name)
                self.complaints.error(f"`{name}` cannot be split into words: {error}", item)
        return tuple(words)

    def warn_of_unused(self) -> None:
        """Variables that Ansible would follow, and that are not followed here."""
        for name in self.raw.keys() & PASSWORDS.keys():
            message = f"`{name}` is not used: passwords do not come from inventories"
            self.complaints.warning(message, self.raw[name].spot, f"give `{PASSWORDS[name]}` on the command line")
        for name in self.raw.keys() & UNUSED.keys():
            self.complaints.warning(f"`{name}` is not used", self.raw[name].spot, UNUSED[name])
