"""Nodes on this machine, to try an inventory before it touches a fleet; also for the demo and for tests.

    there = lab.up(3)
    print(lab.inventory(there))          # an Ansible inventory of its nodes, over real SSH
    lab.execute(there, "node-1", ["ip", "address"])
    lab.down(there.name)

A node has its own network, mount, PID, UTS and IPC namespaces, an overlay of this machine's files as its root
(`/etc/cni`, `/opt/cni`, `/var/lib`, `/root` and `/home` begin empty), and its own SSH server. Its users are
`root` and those of `cni_provision.lab.users`. Everything lives below one holder process and ends with it. Labs
of different names do not see each other, nor the network of this machine.
"""

from __future__ import annotations

from cni_provision.lab.build import Shape, down, up
from cni_provision.lab.enter import command, execute
from cni_provision.lab.inventory import inventory
from cni_provision.lab.state import Lab, LabNode, find, names

__all__ = ["Lab", "LabNode", "Shape", "command", "down", "execute", "find", "inventory", "names", "up"]
