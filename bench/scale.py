"""The real scheduler, protocol, plan and view with nodes that are values: 10,000 of them, 1 % dead, 1 % failing.

    python -m bench.scale [--nodes 1000 10000] [--rounds 3]

Each measurement is a process of its own: it reads the inventory, prepares every node, plans, applies, and plans
again, with the memory transport in the place of `ssh` and the text view drawing into memory. Seconds are of the
three rounds together, without reading; `most at once` is how many sessions were open at the same time; `lines` is
what a person sees of the first plan.
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

from bench.inventory import write

DECLARED = """
ansible_connection: memory
cni_networks:
  - {name: pods, template: bridge, order: 10, parameters: {bridge: cni0, subnet: 10.42.0.0/24, ip_masq: true}}
  - {name: lo, template: loopback, order: 99}
cni_kernel: {modules: [br_netfilter], sysctl: {net.ipv4.ip_forward: 1}}
"""
MEASURED = """
import asyncio, io, json, resource, time
from collections import Counter
from cni_provision import fleet
from cni_provision.cli.run.asking import Answers, planned
from cni_provision.cli.run.changing import planning
from cni_provision.cli.run.jobs import Applying, applying
from cni_provision.cli.view.human import Human
from cni_provision.cli.view.paint import Paint
from cni_provision.cli.view.paper import Paper
from cni_provision.events import Version
from cni_provision.inventory.load import Sources, load
from cni_provision.prepare import prepare
from cni_provision.transport.base import Settings
from cni_provision.transport.memory import MemoryNode, Transport

FAILING = {"reason": "failed", "message": "cannot write: No space left on device"}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
inventory = load(Sources(("inventory",)))
prepared = prepare(inventory)
jobs = applying(inventory, prepared, Applying(verify=False))
names = [node.connection.host for node in inventory.nodes]
nodes = {name: MemoryNode(delay=0.002) for name in names}
for name in names[50::100]:
    nodes[name] = MemoryNode(unreachable="No route to host")
for name in names[75::100]:
    nodes[name] = MemoryNode(error=FAILING)
transport = Transport(Settings(), nodes)
before, began, cpu = peak(), time.perf_counter(), time.process_time()
screens = []
def ask(command, jobs):
    screen = io.StringIO()
    human = Human(Paper(screen, Paint(False)), Paper(io.StringIO(), Paint(False)), command=command)
    outcomes = asyncio.run(fleet.run(jobs, fleet.Options(transports={"memory": transport}), human.emit))
    human.on(planned(Answers(outcomes)))
    screens.append(screen.getvalue())
    return Counter(map(of, outcomes))
def of(outcome):
    if outcome.error:
        return outcome.error.reason
    return "changed" if outcome.reply.changes else "right"
first, done, last = ask("plan", planning("apply", jobs)), ask("apply", jobs), ask("plan", planning("apply", jobs))
print(json.dumps({
    "nodes": len(names), "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu,
    "before": before, "megabytes": peak(), "most": transport.most, "lines": len(screens[0].splitlines()),
    "first": first, "done": done, "last": last,
}))
"""


def measured(nodes: int) -> dict[str, float]:
    """One run in a process of its own; it must have come out right."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        write(Path(name), nodes)
        (Path(name) / "inventory" / "group_vars" / "all.yaml").write_text(DECLARED)
        (Path(name) / "inventory" / "group_vars" / "odd.yaml").unlink()
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        argv = [sys.executable, "-c", MEASURED]
        done = subprocess.run(argv, cwd=name, env=environment, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
    bad = {"unreachable": nodes // 100, "failed": nodes // 100}
    good = nodes - 2 * (nodes // 100)
    assert found["first"] == found["done"] == {"changed": good, **bad}, found
    assert found["last"] == {"right": good, **bad}, found
    figures: dict[str, float] = found
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    print("| nodes | plan, apply, plan, s | CPU, s | MB before | peak, MB | most at once | lines |")
    print("|---|---|---|---|---|---|---|")
    for nodes in options.nodes:
        runs = [measured(nodes) for _ in range(options.rounds)]
        seconds, cpu, before, peak, most, lines = (
            median(run[key] for run in runs) for key in ("seconds", "cpu", "before", "megabytes", "most", "lines")
        )
        print(
            f"| {nodes} | {seconds:.1f} | {cpu:.1f} | {before:.0f} | {peak:.0f} | {most:.0f} | {lines:.0f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
