"""The Ansible role against the same work by `copy` and `template` tasks, in the same run.

    ./run bench role [--nodes 10] [--rounds 1]

Both are `ansible-playbook` with the same inventory and settings (pipelining, ControlPersist, 20 forks), inside the
lab's network. Each round resets the nodes and lets each do the work twice, cold and with nothing to do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench import fleet, work
from bench.accounting import Cost, Group
from cni_provision import lab

ROOT = Path(__file__).resolve().parent.parent
ROLE = "- hosts: all\n  gather_facts: false\n  roles: [cni_provision]\n"
ENGINES = {"role": "role.yaml", "copy and template": "playbook.yaml"}
GOALS = {"cold": 0.2, "nothing to do": 0.15}
Costs = dict[tuple[str, str], list[Cost]]


def measure(name: str, built: lab.Lab, group: Group, costs: Costs) -> None:
    """One cold run and one with nothing to do, which must say so."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch, "work")
        folder.mkdir()
        addresses = {node.name: node.address for node in built.nodes}
        work.write(folder, fleet.direct_ssh_config(built, Path(scratch)), addresses, curve25519=False)
        (folder / "role.yaml").write_text(ROLE)
        variables = {
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{scratch}/cp",
            "PYTHONPATH": str(ROOT),
        }
        fleet.reset(built)
        playbook = (str(fleet.PEERS / "bin/ansible-playbook"), "-i", "inventory/hosts.yaml", ENGINES[name])
        for mode in GOALS:
            cost, output = group.run(("nsenter", f"--net=/proc/{built.holder}/ns/net", *playbook), folder, variables)
            costs.setdefault((name, mode), []).append(cost)
            if mode == "nothing to do" and output.count("changed=0 ") != len(built.nodes):
                raise RuntimeError(f"{name} changed something in its second run:\n{output}")
            print(f"  {name:20} {mode:14} {cost.wall:7.2f} s wall {cost.cpu:7.2f} s CPU", file=sys.stderr)


def table(costs: Costs, count: int) -> Iterator[str]:
    yield "| | cold, wall s | nothing to do, wall s | cold, CPU ms a node | nothing to do, CPU ms a node |"
    yield "|---|---|---|---|---|"
    for name in ENGINES:
        walls = [f"{median(cost.wall for cost in costs[name, mode]):.2f}" for mode in GOALS]
        cpus = [f"{median(cost.cpu for cost in costs[name, mode]) / count * 1000:.0f}" for mode in GOALS]
        yield f"| {name} | {' | '.join((*walls, *cpus))} |"


def ratios(costs: Costs) -> Iterator[str]:
    for mode, goal in GOALS.items():
        role, tasks = (median(cost.wall for cost in costs[name, mode]) for name in ENGINES)
        verdict = "met" if role / tasks <= goal else "MISSED"
        yield f"{mode}, wall: role / tasks = {role / tasks:.3f} (goal {goal:.2f}: {verdict})"


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=10)
    options.add_argument("--rounds", type=int, default=1)
    chosen = options.parse_args(arguments)
    fleet.install_peers()
    group, costs = Group("cni-provision-bench"), Costs()
    with fleet.nodes(chosen.nodes) as built:
        for _ in range(chosen.rounds):
            for name in ENGINES:
                measure(name, built, group, costs)
    print(*table(costs, chosen.nodes), "", *ratios(costs), sep="\n")


if __name__ == "__main__":
    main()
