"""What the Ansible role is made of, without Ansible: a play's variables in, questions to a node and results out.

The role's action plugin (`roles/cni_provision/action_plugins`) runs this in Ansible's own interpreter:

    inventory = role.inventory([host], source)       # or `Mistakes`, with their places
    job = role.job(inventory, role.Task("apply"))
    executions = role.executions(job)                # yields stdin, takes what a command on the node answered
    result = role.result(job, reply, ...)            # what Ansible shows and registers

One execution when nothing changes on the node, two otherwise: Ansible's connections cannot converse.
"""

from __future__ import annotations

from cni_provision.inventory.source import is_declaration
from cni_provision.role.executions import Ended, command, executions
from cni_provision.role.hosts import Host, inventory, play_inventory
from cni_provision.role.results import checked, failure, result
from cni_provision.role.tasks import Task, check, job, parts

__all__ = [
    "Ended",
    "Host",
    "Task",
    "check",
    "checked",
    "command",
    "executions",
    "failure",
    "inventory",
    "is_declaration",
    "job",
    "parts",
    "play_inventory",
    "result",
]
