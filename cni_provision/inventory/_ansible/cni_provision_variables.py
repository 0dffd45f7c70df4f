# Copyright: the cni-provision project
# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Ansible action: every host's variables as Ansible evaluates them, written to a descriptor.

This file imports Ansible and has its licence. It stands alone: Ansible loads it by its path, in Ansible's own
interpreter (Python ≥ 3.10, ansible-core 2.16 to 2.19); no module of the project imports it, and it imports none.

The descriptor's number is in CNI_PROVISION_ANSWER. Lines of JSON: first the groups and hosts, then for each host its
variables, each as a node `{v | d | l | e | o | r, p, s, j}`: a value, pairs of a mapping, items of a list, an error,
omitted, or the number of a node that several hosts share and that an earlier line gave. `p` is [file, line, column],
`s` says that the value was vaulted or may come from something that was, or from a lookup that can give secrets; `j`
that a template gave it.
Values go nowhere else: the task's result says only that it ran.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # before 2.19
    Origin = None

# What Ansible says about itself and its run, not about a host.
ABOUT_THE_RUN = frozenset({
    "hostvars", "groups", "vars", "omit", "environment", "playbook_dir", "play_hosts", "role_names", "role_path",
    "ansible_version", "ansible_playbook_python", "ansible_config_file", "ansible_facts", "ansible_local",
    "ansible_role_names", "ansible_dependent_role_names", "ansible_play_role_names", "ansible_play_name",
    "ansible_play_hosts", "ansible_play_hosts_all", "ansible_play_batch", "ansible_check_mode", "ansible_diff_mode",
    "ansible_forks", "ansible_inventory_sources", "ansible_limit", "ansible_run_tags", "ansible_skip_tags",
    "ansible_verbosity", "ansible_search_path", "inventory_hostname", "inventory_hostname_short", "group_names",
})  # fmt: skip
MARKS = ("{{", "{%", "{#")
ENCRYPTED = ("EncryptedString", "AnsibleVaultEncryptedUnicode")
VAULT_HEADER = b"$ANSIBLE_VAULT;"
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LOOKUP = re.compile(r"\b(?:lookup|query|q)\s*\(\s*(?:(['\"])([\w.]+)\1)?")
# Lookups that give what stands in the inventory or in plain files; any other one may give a secret.
PUBLIC_LOOKUPS = frozenset({
    "file", "fileglob", "first_found", "template", "vars", "varnames", "dict", "items", "list", "sequence", "nested",
    "together", "indexed_items", "inventory_hostnames", "subelements", "random_choice", "config",
})  # fmt: skip

Json = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]
    """Answers on the descriptor; needs no connection."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> Json:
        answer = Answer(self._templar, task_vars)
        with os.fdopen(int(os.environ["CNI_PROVISION_ANSWER"]), "w", encoding="utf-8") as file:
            for line in answer.lines():
                file.write(json.dumps(line) + "\n")
        return {"changed": False}


class Answer:
    """All lines, host after host."""

    def __init__(self, templar: Any, task_vars: Mapping[str, Any]) -> None:
        self.templar = templar
        self.hostvars = task_vars["hostvars"]
        self.groups = task_vars["groups"]
        self.omit = {"omit": task_vars["omit"]} if "omit" in task_vars else {}  # since 2.19 a function of Jinja
        self.inventory = self.hostvars._inventory
        self.sealed = Sealed()
        self.shared: dict[int, tuple[Any, int]] = {}
        self.news: list[Json] = []

    def lines(self) -> Iterator[Json]:
        names = [host.name for host in self.inventory.get_hosts("all", ignore_limits=True, ignore_restrictions=True)]
        yield {"groups": {name: of_group(group) for name, group in self.inventory.groups.items()}, "hosts": names}
        raws = {name: self.raw(name, index) for index, name in enumerate(names)}
        anywhere = any(self.sealed.holds(value) for raw in raws.values() for value in raw.values())
        for name in names:
            host = self.host(name, raws[name], anywhere=anywhere)
            yield from self.news
            self.news.clear()
            yield host

    def raw(self, name: str, index: int) -> Mapping[str, Any]:
        """A host's variables, not evaluated, with our own `node_index` where it is not set; templates see it too."""
        raw: Mapping[str, Any] = self.hostvars.raw_get(name)
        if "node_index" in raw:
            return raw
        self.inventory.get_host(name).vars["node_index"] = index
        return {**raw, "node_index": index}

    def host(self, name: str, raw: Mapping[str, Any], *, anywhere: bool) -> Json:
        available = {**self.omit, **raw, "hostvars": self.hostvars, "groups": self.groups}
        templar = self.templar.copy_with_new_env(available_variables=available)
        secrets = Secrets(raw, self.sealed, anywhere=anywhere)
        names = [key for key in raw if key not in ABOUT_THE_RUN]
        return {"host": name, "variables": {key: self.variable(key, raw[key], templar, secrets) for key in names}}

    def variable(self, name: str, raw: Any, templar: Any, secrets: Secrets) -> Json:
        """One variable as a node."""
        plain = isinstance(raw, (dict, list)) and not templated(raw) and not self.sealed.holds(raw)
        if plain and id(raw) in self.shared:
            return {"r": self.shared[id(raw)][1]}
        secret = secrets.named(name)
        try:
            node = self.node(templar.template(raw), raw, secrets)
        except Exception as error:
            return self.failed(error, raw, secret=secret)
        if not plain:
            return node
        self.shared[id(raw)] = (raw, len(self.shared))
        self.news.append({"shared": len(self.shared) - 1, "node": node})
        return {"r": len(self.shared) - 1}

    def failed(self, error: Exception, raw: Any, *, secret: bool) -> Json:
        """What went wrong, unless the message could tell a secret."""
        if type(error).__name__ == "AnsibleValueOmittedError":
            return {"o": True, "p": place(raw)}
        message = f"the value fails ({type(error).__name__}); it may hold a secret" if secret else told(error)
        return {"e": message, "p": place(raw), "s": secret}

    def node(self, value: Any, raw: Any, secrets: Secrets) -> Json:
        """A value with its place: that of its template, or its own where a template gave a container."""
        stands = place(raw) or place(value)
        if isinstance(value, Mapping):
            pairs = [self.pair(key, child, raw, secrets) for key, child in value.items() if not self.omitted(child)]
            return {"d": pairs, "p": stands}
        if isinstance(value, (list, tuple)):
            raws = raw if isinstance(raw, list) and len(raw) == len(value) else [raw] * len(value)
            items = zip(value, raws)
            return {"l": [self.node(*pair, secrets) for pair in items if not self.omitted(pair[0])], "p": stands}
        secret = secrets.inside(raw) or self.sealed.holds(value)
        return scalar(value) | {"p": stands, "s": secret, "j": templated(raw)}

    def pair(self, key: Any, child: Any, raw: Any, secrets: Secrets) -> list[Any]:
        below = raw.get(key, raw) if isinstance(raw, dict) else raw
        key_place = next((place(name) for name in raw if name == key), None) if isinstance(raw, dict) else None
        return [plain_key(key), self.node(child, below, secrets), key_place]

    def omitted(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.omit.values()


class Sealed:
    """What was encrypted: single values, and everything of a vaulted file."""

    def __init__(self) -> None:
        self.files: dict[str, bool] = {}

    def holds(self, value: Any) -> bool:
        """Whether anything in a value was encrypted."""
        if type(value).__name__ in ENCRYPTED or self.from_file(value):
            return True
        if isinstance(value, dict):
            return any(map(self.holds, value.values()))
        return isinstance(value, (list, tuple)) and any(map(self.holds, value))

    def from_file(self, value: Any) -> bool:
        stands = place(value)
        file = stands[0] if stands else None
        if file is None:
            return False
        if file not in self.files:
            self.files[file] = vaulted(file)
        return self.files[file]


class Secrets:
    """Which variables of a host are secret, or may be, because of what their templates name."""

    def __init__(self, raw: Mapping[str, Any], sealed: Sealed, *, anywhere: bool) -> None:
        self.raw = raw
        self.sealed = sealed
        self.anywhere = anywhere
        self.known: dict[str, bool] = {}

    def named(self, name: str) -> bool:
        if name not in self.known:
            self.known[name] = False  # a variable that needs itself adds nothing
            self.known[name] = self.inside(self.raw[name])
        return self.known[name]

    def inside(self, value: Any) -> bool:
        """Whether a value, with everything that its templates name, may hold a secret."""
        if self.sealed.holds(value):
            return True
        if isinstance(value, dict):
            return any(map(self.inside, value.values()))
        if isinstance(value, (list, tuple)):
            return any(map(self.inside, value))
        return isinstance(value, str) and any(mark in value for mark in MARKS) and self.template(value)

    def template(self, text: str) -> bool:
        lookups = {found[1].rpartition(".")[2] for found in LOOKUP.findall(text)}
        if lookups - PUBLIC_LOOKUPS:
            return True
        words = set(WORD.findall(text))
        if self.anywhere and (words & {"hostvars", "vars"} or lookups & {"vars", "template"}):
            return True
        return any(self.named(word) for word in words if word in self.raw)


def of_group(group: Any) -> Json:
    hosts, children = [host.name for host in group.hosts], [child.name for child in group.child_groups]
    return {"hosts": hosts, "children": children, "priority": group.priority}


def templated(value: Any) -> bool:
    """Whether anything in a value is a template."""
    if isinstance(value, dict):
        return any(map(templated, value.values()))
    if isinstance(value, list):
        return any(map(templated, value))
    return isinstance(value, str) and any(mark in value for mark in MARKS)


def place(value: Any) -> list[Any] | None:
    """[file, line, column] of a value, if Ansible knows it."""
    if Origin is not None:
        origin = Origin.get_tag(value)
        return [origin.path, origin.line_num or 0, origin.col_num or 0] if origin and origin.path else None
    file, line, column = getattr(value, "ansible_pos", (None, 0, 0))
    return [str(file), line, column] if file and line else None


def vaulted(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            return opened.read(len(VAULT_HEADER)) == VAULT_HEADER
    except OSError:
        return False


def scalar(value: Any) -> Json:
    """A plain value for JSON; dates are marked."""
    if isinstance(value, (bool, int, float)) or value is None:
        return {"v": plain_number(value)}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return {"v": value.isoformat(), "t": "datetime" if isinstance(value, datetime.datetime) else "date"}
    return {"v": str(value)}


def plain_number(value: Any) -> Any:
    """The value without Ansible's own subclass of its type."""
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else float(value)


def plain_key(key: Any) -> Any:
    return key if key is None or isinstance(key, (bool, int, float)) else str(key)


def told(error: Exception) -> str:
    """The messages of an error and of what caused it, once each."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(getattr(cause, "_message", None) or getattr(cause, "message", None) or cause).split())
        if text and not any(text in other for other in messages):
            messages.append(text)
        cause = cause.__cause__
    return ": ".join(messages) or type(error).__name__
