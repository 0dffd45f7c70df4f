"""`init`: a small inventory to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from cni_provision.cli.options import Output, output_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.errors import UserError
from cni_provision.events import Progress, Summary

HOSTS = """\
# The nodes. This is an ordinary Ansible inventory: groups, ranges, group_vars and host_vars work as you know them.
all:
  hosts:
    node-[1:3]:
  vars:
    ansible_user: root
"""

DECLARATIONS = """\
# What every node gets. Lists are merged by `name`: a group or a host adds to them, or changes one entry, with
# `cni_networks__<suffix>`. `cni-provision schema` prints a JSON Schema for your editor.
cni_networks:
  # Containers of one node on a bridge. They reach the world behind the node's address; ports can be mapped.
  - name: pods
    template: bridge
    order: 10
    parameters:
      bridge: cni0
      subnet: "10.42.{{ node_index }}.0/24"
      ip_masq: true
      portmap: true
  - name: lo
    template: loopback
    order: 99

cni_kernel:
  sysctl:
    net.ipv4.ip_forward: 1
"""

FILES = {"hosts.yaml": HOSTS, "group_vars/all.yaml": DECLARATIONS}


@define(
    "init",
    "write a small example inventory",
    ("", "write ./inventory/"),
    ("staging", "write ./staging/"),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="inventory")
@output_options
def command(folder: Path, output: Output) -> int:
    """Write a small example inventory into FOLDER (default: inventory); never overwrite anything.

    It is complete: `validate` accepts it, and with your own nodes in it `apply` makes it so.
    """

    def work(emit: Emit) -> Summary:
        refuse_existing(folder)
        for name, text in FILES.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
            emit(Progress(f"wrote {file}"))
        option = "" if folder == Path("inventory") else f" -i {folder}"
        return Summary(
            0, 0, next_command=f"cni-provision validate{option}", next_reason="once the nodes in it are yours"
        )

    return run("init", output, work)


def refuse_existing(folder: Path) -> None:
    """Raise `UserError` if any of the files is there, before the first is written."""
    for name in FILES:
        if (folder / name).exists():
            raise UserError(f"`{folder / name}` exists and is left alone", hint="name another folder")
