"""From inventory to what each node shall have, for 1,000 and 10,000 nodes: seconds, peak memory, and the growth.

    python -m bench.inventory [--nodes 1000 10000] [--rounds 3] [--reader own]

Each measurement is a process of its own. Every node has its own subnet by a template, group variables in files, and
two networks of the built-in templates. Ends with 1 where the goal (10,000 nodes: 10 s of one core, 500 MB) is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

GOAL_NODES, GOAL_SECONDS, GOAL_MEGABYTES = 10_000, 10.0, 500.0
MEASURED = """
import json, resource, sys, time
began = time.perf_counter(), time.process_time()
from cni_provision import programs
from cni_provision.inventory.load import Sources, load
inventory = load(Sources(("inventory",), reader=sys.argv[1]), run=programs.run)
read = time.perf_counter()
from cni_provision.prepare import check, prepare
found = prepare(inventory) if sys.argv[2] == "prepare" else check(inventory)
ended = time.perf_counter(), time.process_time()
print(json.dumps({
    "nodes": len(inventory.nodes), "read": read - began[0], "all": ended[0] - began[0], "cpu": ended[1] - began[1],
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""
SHARED = """
region: eu
domain: "{{ region }}.example.org"
ansible_host: "{{ inventory_hostname }}.{{ domain }}"
cni_networks:
  - name: pods
    template: bridge
    order: 10
    parameters:
      bridge: cni0
      subnet: "10.{{ node_index // 256 }}.{{ node_index % 256 }}.0/24"
      ip_masq: true
      portmap: true
  - {name: lo, template: loopback, order: 99}
cni_kernel: {modules: [br_netfilter], sysctl: {net.ipv4.ip_forward: 1}}
"""


def write(folder: Path, nodes: int) -> None:
    """An inventory of racks of forty nodes in two rows."""
    inventory = folder / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    racks = {f"rack{rack:03}": (rack * 40, min((rack + 1) * 40, nodes)) for rack in range((nodes + 39) // 40)}
    lines = ["all:", "  children:"]
    for name, (first, end) in racks.items():
        lines += [f"    {name}:", "      hosts:", f'        "node[{first:05}:{end - 1:05}]":']
    for row in ("even", "odd"):
        members = [name for index, name in enumerate(racks) if index % 2 == (row == "odd")]
        lines += [f"    {row}:", "      children:", *(f"        {name}:" for name in members)]
    (inventory / "hosts.yaml").write_text("\n".join(lines) + "\n")
    (inventory / "group_vars" / "all.yaml").write_text(SHARED)
    (inventory / "group_vars" / "odd.yaml").write_text(
        "cni_networks__odd:\n  - {name: pods, parameters: {mtu: 9000}}\n"
    )


def measured(nodes: int, reader: str, work: str) -> dict[str, float]:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-inventory-") as name:
        write(Path(name), nodes)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        program = [sys.executable, "-c", MEASURED, reader, work]
        done = subprocess.run(program, cwd=name, env=environment, check=True, capture_output=True, text=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reader", choices=["own", "ansible"], default="own")
    parser.add_argument("--work", choices=["check", "prepare"], default="prepare")
    options = parser.parse_args(arguments)
    failed = False
    print("| nodes | inventory, s | to desired files, s | CPU, s | peak memory, MB |\n|---|---|---|---|---|")
    for nodes in options.nodes:
        runs = [measured(nodes, options.reader, options.work) for _ in range(options.rounds)]
        read, everything, cpu, memory = (
            median(run[key] for run in runs) for key in ("read", "all", "cpu", "megabytes")
        )
        print(f"| {nodes} | {read:.2f} | {everything:.2f} | {cpu:.2f} | {memory:.0f} |", flush=True)
        failed |= nodes <= GOAL_NODES and (cpu > GOAL_SECONDS or memory > GOAL_MEGABYTES)
    return int(failed and options.reader == "own")


if __name__ == "__main__":
    sys.exit(main())
