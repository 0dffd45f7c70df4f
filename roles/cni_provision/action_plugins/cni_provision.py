# Copyright: the cni-provision project
# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `cni_provision`: one question to the node program over Ansible's own connection and become.

This file imports Ansible and has its licence. What it decides, asks and tells is `cni_provision.role` of the package
`cni-provision`, which must be installed for Ansible's interpreter; nothing of that imports Ansible.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

try:
    from cni_provision import role
    from cni_provision.errors import CniProvisionError
    from cni_provision.inventory._ansible.cni_provision_variables import Answer, Secrets, place
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

# A container is no node: its runtime, not Ansible, gives it its network. The others run no POSIX shell.
REFUSED = {
    "docker": "a container", "docker_api": "a container", "podman": "a container", "buildah": "a container",
    "kubectl": "a pod", "oc": "a pod", "winrm": "Windows", "psrp": "Windows",
    "network_cli": "a network device", "netconf": "a network device", "httpapi": "a network device",
}  # fmt: skip
OPTIONS = {
    "verb": {"choices": ["apply", "check", "verify", "rollback"], "default": "apply"},
    "adopt": {"type": "list", "elements": "str", "default": []},
    "force": {"type": "bool", "default": False},
    "generation": {"type": "int"},
    "lock_timeout": {"type": "float", "default": 0.0},
    "probe": {"type": "bool", "default": True},
    "repair": {"type": "bool", "default": False},
    "rollback": {"type": "bool", "default": True},
}
PREFIX = "cni_"

Json = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller; on the node runs the same program as for `cni-provision`."""

    _supports_check_mode = True
    _supports_async = True
    OPTIONS = OPTIONS

    def run(self, tmp: Any = None, task_vars: Any = None) -> Json:
        super().run(tmp, task_vars)
        if MISSING:
            raise AnsibleActionFail(missing(MISSING))
        _, options = self.validate_argument_spec(argument_spec=self.OPTIONS)
        if self._task.async_val and self._task.check_mode:
            raise AnsibleActionFail("check mode and async cannot be used on same task")
        try:
            result = self.answer(options, Variables(self._templar, task_vars))
        except CniProvisionError as error:
            return role.failure(error)
        return self.finished_job(result) if self._task.async_val and not result.get("failed") else result

    def answer(self, options: Json, variables: Variables) -> Json:
        if options["verb"] == "check":
            return role.checked(role.check(variables.play()))
        only = role.parts(variables.names("ansible_run_tags"), variables.names("ansible_skip_tags"))
        task = role.Task(**options, only=only, check_mode=self._task.check_mode)
        host = variables.host()
        job = role.job(role.inventory([host], variables.source), task)
        reply = self.converse(role.executions(job), role.command(variables.python(self._task.delegate_to)))
        return role.result(job, reply, host.outside, diff=bool(self._task.diff))

    def converse(self, flow: Any, command: str) -> Any:
        """The reply of a node to all that `flow` wants to send it."""
        self.refuse()
        try:
            sent = next(flow)
            while True:
                sent = flow.send(self.execute(command, sent))
        except StopIteration as end:
            return end.value

    def finished_job(self, result: Json) -> Json:
        """A job of `async` that has ended already: a node is asked once or twice, there is nothing to wait for."""
        job, folder = f"j{uuid.uuid4().hex}", self.get_shell_option("async_dir", default="~/.ansible_async")
        self.execute(f"umask 077 && mkdir -p {folder} && cat >{folder}/{job}", json.dumps(result).encode())
        return {"started": True, "finished": False, "ansible_job_id": job, "results_file": f"{folder}/{job}"}

    def refuse(self) -> None:
        transport = self._connection.transport.rpartition(".")[2]
        if transport in REFUSED:
            raise AnsibleActionFail(
                f"`ansible_connection: {transport}` leads to {REFUSED[transport]}, which cannot be provisioned;"
                " hint: reach the node itself, for example by `ssh`"
            )

    def execute(self, command: str, sent: bytes) -> Any:
        """Run a command as root with this stdin; a connection that has no stdin finds it in a file."""
        if not self._connection.has_pipelining:
            file = self._connection._shell.join_path(self._make_tmp_path(), "request")
            self._transfer_data(file, sent)
            command, sent = f"{command} < {file}", b""
        # lossless: the answer is bytes, and this is text
        ended = self._low_level_execute_command(command, in_data=sent or None, encoding_errors="surrogateescape")
        if not self._connection.has_pipelining:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return role.Ended(ended["rc"], ended["stdout"].encode(errors="surrogateescape"), ended["stderr"])


class Variables:
    """The variables of a play as `cni_provision.role` takes them: evaluated, with places, secrets marked."""

    def __init__(self, templar: Any, task_vars: Mapping[str, Any]) -> None:
        self.templar = templar
        self.task_vars = task_vars
        self.evaluation = Answer(templar, task_vars)
        self.name = task_vars["inventory_hostname"]
        self.order = {name: index for index, name in enumerate(task_vars["groups"]["all"])}
        self.source = ", ".join(map(str, task_vars.get("ansible_inventory_sources") or ()))

    def names(self, variable: str) -> list[str]:
        return [str(name) for name in self.task_vars.get(variable) or ()]

    def python(self, delegate: str | None) -> str | None:
        """The interpreter that the user named for the node."""
        variables = self.task_vars.get("ansible_delegated_vars", {}).get(delegate) if delegate else self.task_vars
        named = (variables or {}).get("ansible_python_interpreter")
        return str(self.templar.template(named)) if named else None

    def host(self) -> Any:
        """This task's host."""
        return self.evaluated(self.name, self.task_vars, dict(self.outside()))

    def play(self) -> Any:
        """All hosts of the play, as far as this host's task can tell, beside the rest of the inventory."""
        mine = {name: self.task_vars[name] for name, _ in self.outside()}
        playing = self.names("ansible_play_hosts_all")
        hosts = [self.evaluated(name, {**self.raw(name), **mine}) for name in playing]
        others = [self.evaluated(name, self.raw(name)) for name in self.order if name not in set(playing)]
        return role.play_inventory(hosts, others, self.source)

    def raw(self, name: str) -> Mapping[str, Any]:
        raw: Mapping[str, Any] = self.evaluation.hostvars.raw_get(name)
        return raw

    def evaluated(self, name: str, raw: Mapping[str, Any], outside: Mapping[str, str] | None = None) -> Any:
        available = {"node_index": self.order[name], **raw}
        templar = self.templar.copy_with_new_env(available_variables=available)
        secrets = Secrets(raw, self.evaluation.sealed, anywhere=self.is_vaulted(raw))
        wanted = [key for key in raw if key.startswith(PREFIX) or key == "inventory_dir"]
        nodes = {key: self.node(raw[key], templar, secrets) for key in wanted}
        return role.Host(name, self.order[name], tuple(sorted(raw.get("group_names", ()))), nodes, outside or {})

    def node(self, raw: Any, templar: Any, secrets: Secrets) -> Json:
        """A value as a node; of one that fails, every part by itself, so that the mistake has its own place."""
        try:
            return self.evaluation.node(templar.template(raw), raw, secrets)
        except Exception as error:
            if isinstance(raw, dict):
                pairs = [[str(key), self.node(child, templar, secrets), place(key)] for key, child in raw.items()]
                return {"d": pairs, "p": place(raw)}
            if isinstance(raw, list):
                return {"l": [self.node(child, templar, secrets) for child in raw], "p": place(raw)}
            return self.evaluation.failed(error, raw, secret=secrets.inside(raw))

    def is_vaulted(self, raw: Mapping[str, Any]) -> bool:
        """Whether another host's variables, which a template may name, could hold a secret."""
        if not any("vars" in str(raw[key]) for key in raw if key.startswith(PREFIX)):
            return False
        return any(self.evaluation.sealed.holds(value) for name in self.order for value in self.raw(name).values())

    def outside(self) -> Iterator[tuple[str, str]]:
        """The declarations that do not stand in the inventory, and where they do."""
        inventory = self.raw(self.name)
        for name, value in self.task_vars.items():
            if not role.is_declaration(name):
                continue
            if name in self.extra_variables():
                yield name, "`-e`"
            elif name in self.facts():
                yield name, "a fact"
            elif name not in inventory or inventory[name] != value:
                yield name, "`{}:{}:{}`".format(*found) if (found := place(value)) else "the play"

    def extra_variables(self) -> Iterable[str]:
        return getattr(self.manager, "extra_vars", None) or ()

    def facts(self) -> Iterable[str]:
        """What `set_fact` and `include_vars` made for this host."""
        kinds = ("_nonpersistent_fact_cache", "_vars_cache")
        caches = (getattr(self.manager, kind, None) or {} for kind in kinds)
        return {name for cache in caches for name in cache.get(self.name) or ()}

    @property
    def manager(self) -> Any:
        return getattr(self.evaluation.hostvars, "_variable_manager", None)


def missing(error: ImportError) -> str:
    """What to do where the package is not installed."""
    version = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info < (3, 11):  # noqa: UP036 (Ansible's Python, not ours)
        return (
            f"cni-provision needs Python 3.11 or newer, and Ansible runs in {sys.executable} ({version});"
            " hint: install ansible-core for a newer Python"
        )
    if not str(error.name or "").startswith("cni_provision"):
        return f"cni-provision cannot be loaded in {sys.executable}: {error}"
    return (
        f"the package cni-provision is not installed for Ansible's interpreter {sys.executable};"
        f" hint: `{sys.executable} -m pip install cni-provision`"
    )
