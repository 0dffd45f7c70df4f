"""Ours against `ansible-playbook` and pyinfra: the same work on the same lab nodes, in the same run.

    ./run bench [--nodes 10] [--rounds 1] [--only ENGINE]…

Each round resets the nodes and lets every engine do the work twice, cold and with nothing to do. The
controllers run inside the lab's network, so that no proxy is measured. Prints medians, and ratios within
the run; CPU is the controller's, for one node.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import work
from bench.accounting import Cost, Group
from cni_provision import lab

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".venv"
OURS = str(Path(sys.executable).with_name("cni-provision"))
RESET = "rm -rf /opt/cni/bin/* /etc/cni/net.d/* /var/lib/cni-provision /root/.ansible /tmp/pyinfra*"
LIMITS = (
    ("cold, wall", "ours", "ansible", 0.10),
    ("nothing to do, wall", "ours", "ansible", 0.05),
    ("cold, wall", "ours", "pyinfra", 0.40),
    ("nothing to do, wall", "ours", "pyinfra", 0.40),
    ("cold, CPU", "ours", "ansible", 0.15),
    ("cold, CPU", "ours", "pyinfra", 0.60),
    ("cold, CPU", "ours, curve25519", "ansible, curve25519", 0.15),
    ("cold, CPU", "ours, curve25519", "pyinfra", 0.60),
    ("nothing to do, CPU", "ours, --mux", "pyinfra", 0.10),
)


@dataclass
class Engine:
    """How an engine does the work in a folder, and what its output must say when nothing was to do."""

    name: str
    argv: tuple[str, ...]
    unchanged: Callable[[str], bool]
    curve25519: bool = False
    warm: bool = False  # whether connections of an earlier run may be used from the start
    variables: dict[str, str] = field(default_factory=dict)
    costs: dict[str, list[Cost]] = field(default_factory=lambda: {"cold": [], "nothing to do": []})


def engines() -> tuple[Engine, ...]:
    apply = (OURS, "apply", "--yes", "--forks", "20")
    playbook = (str(PEERS / "bin/ansible-playbook"), "-i", "inventory/hosts.yaml", "playbook.yaml")
    pyinfra = (str(PEERS / "bin/pyinfra"), "-y", "--parallel", "20", "pyinfra_inventory.py", "deploy.py")

    def ours_unchanged(output: str) -> bool:
        return any(line.startswith("0 changes") for line in output.splitlines())

    def ansible_unchanged(output: str) -> bool:
        return "changed=0" in output and not any(f"changed={count} " in output for count in range(1, 30))

    return (
        Engine("ours", apply, ours_unchanged),
        Engine("ours, curve25519", apply, ours_unchanged, curve25519=True),
        Engine("ours, --mux", (*apply, "--mux"), ours_unchanged, warm=True),
        Engine("pyinfra", pyinfra, lambda output: True),
        Engine("ansible", playbook, ansible_unchanged),
        Engine("ansible, curve25519", playbook, ansible_unchanged, curve25519=True),
    )


def install_peers() -> None:
    if not (PEERS / "bin/ansible-playbook").exists():
        print("bench: installing the peers", file=sys.stderr)
        venv.create(PEERS, with_pip=True)
        pip = [str(PEERS / "bin/python"), "-m", "pip", "install", "-q", "-r", str(HERE / "requirements.txt")]
        subprocess.run(pip, check=True)


@contextmanager
def nodes(count: int) -> Iterator[lab.Lab]:
    name = "bench"
    if name in lab.names():
        lab.down(name)
    built = lab.up(count, name=name)
    try:
        yield built
    finally:
        lab.down(name)


def reset(built: lab.Lab) -> None:
    for node in built.nodes:
        subprocess.run(lab.command(built, node.name, ["sh", "-c", RESET]), check=True)


def direct_ssh_config(built: lab.Lab, folder: Path) -> Path:
    """The lab's configuration without the way in: the engines are inside already."""
    lines = (built.folder / "ssh_config").read_text().splitlines()
    file = folder / "ssh_config"
    file.write_text("\n".join(line for line in lines if "ProxyCommand" not in line) + "\n")
    return file


def measure(engine: Engine, built: lab.Lab, group: Group) -> None:
    """One cold run and one with nothing to do."""
    inside = ("nsenter", f"--net=/proc/{built.holder}/ns/net")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name, "work")
        folder.mkdir()
        addresses = {node.name: node.address for node in built.nodes}
        work.write(folder, direct_ssh_config(built, Path(name)), addresses, curve25519=engine.curve25519)
        variables = {"ANSIBLE_SSH_CONTROL_PATH_DIR": f"{name}/cp", "ANSIBLE_CONFIG": f"{folder}/ansible.cfg"}
        reset(built)
        if engine.warm:
            group.run((*inside, OURS, "plan", "--mux"), folder, variables)
        for mode in engine.costs:
            cost, output = group.run((*inside, *engine.argv), folder, variables)
            engine.costs[mode].append(cost)
            if mode == "nothing to do" and not engine.unchanged(output):
                raise RuntimeError(f"{engine.name} changed something in its second run:\n{output}")
            print(f"  {engine.name:20} {mode:14} {cost.wall:7.2f} s wall {cost.cpu:7.2f} s CPU", file=sys.stderr)


def figure(engine: Engine, column: str, count: int) -> float:
    mode, kind = column.split(", ")
    costs = engine.costs[mode]
    return median(cost.wall for cost in costs) if kind == "wall" else median(cost.cpu for cost in costs) / count


def table(measured: Sequence[Engine], count: int) -> Iterator[str]:
    columns = ("cold, wall", "nothing to do, wall", "cold, CPU", "nothing to do, CPU")
    yield "| engine | cold, wall s | nothing to do, wall s | cold, CPU ms a node | nothing to do, CPU ms a node |"
    yield "|---|---|---|---|---|"
    for engine in measured:
        figures = [figure(engine, column, count) for column in columns]
        cells = [f"{value * 1000:.0f}" if index > 1 else f"{value:.2f}" for index, value in enumerate(figures)]
        yield f"| {engine.name} | {' | '.join(cells)} |"


def ratios(measured: Sequence[Engine], count: int) -> Iterator[str]:
    by_name = {engine.name: engine for engine in measured}
    for column, first, second, limit in LIMITS:
        if not {first, second} <= by_name.keys():
            continue
        ratio = figure(by_name[first], column, count) / figure(by_name[second], column, count)
        verdict = "met" if ratio <= limit else "MISSED"
        yield f"{column}: {first} / {second} = {ratio:.3f} (goal {limit:.2f}: {verdict})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=10)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--only", action="append", help="an engine of the table; may be given several times")
    chosen = options.parse_args()
    install_peers()
    measured = tuple(engine for engine in engines() if not chosen.only or engine.name in chosen.only)
    group = Group("cni-provision-bench")
    with nodes(chosen.nodes) as built:
        for number in range(chosen.rounds):
            print(f"bench: round {number + 1} of {chosen.rounds}, {chosen.nodes} nodes", file=sys.stderr)
            for engine in measured:
                measure(engine, built, group)
    print(*table(measured, chosen.nodes), "", *ratios(measured, chosen.nodes), sep="\n")


if __name__ == "__main__":
    main()
