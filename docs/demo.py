"""The whole path on this machine: lab nodes over real SSH, apply, traffic, drift, rollback. `./run demo`.

Every step is a command that a user would type; its exit code is compared with the documented one, and
the demo ends with 1 at the first that differs.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = str(Path(sys.executable).with_name("cni-provision"))
LAB = "demo"
NODES = 3


class StepFailed(Exception):
    """A command did not end as documented."""


def title(text: str) -> None:
    print(f"\n\033[1m── {text}\033[0m" if sys.stdout.isatty() else f"\n── {text}", flush=True)


def step(*words: str, expect: int = 0, folder: Path | None = None) -> None:
    """Show a `cni-provision` command, run it, and compare its exit code."""
    print(f"$ cni-provision {shlex.join(words)}", flush=True)
    code = subprocess.run([PROGRAM, *words], cwd=folder, check=False).returncode
    if code != expect:
        raise StepFailed(f"`cni-provision {shlex.join(words)}` ended with {code}, {expect} was expected")


@contextmanager
def lab() -> Iterator[None]:
    """Lab nodes for the length of the demo."""
    subprocess.run([PROGRAM, "lab", "down", "--name", LAB], capture_output=True, check=False)
    step("lab", "up", str(NODES), "--name", LAB)
    try:
        yield
    finally:
        step("lab", "down", "--name", LAB)


def write_inventory(folder: Path) -> None:
    """The lab's nodes and the example's declarations, side by side as in any inventory folder."""
    print(f"$ cni-provision lab inventory --name {LAB} > inventory/hosts.yaml", flush=True)
    hosts = subprocess.run([PROGRAM, "lab", "inventory", "--name", LAB], stdout=subprocess.PIPE, check=True).stdout
    shutil.copytree(HERE / "example", folder / "inventory")
    (folder / "inventory/hosts.yaml").write_bytes(hosts)


def on_node(node: str, *argv: str) -> None:
    step("lab", "exec", "--name", LAB, node, "--", *argv)


def route_the_fabric() -> None:
    """What the routers of a real fabric do: each node's `fabric` subnet is reached through that node."""
    for index in range(NODES):
        for other in range(NODES):
            if other != index:
                route = f"10.60.{other}.0/24 via 10.200.1.{other + 1}"
                on_node(f"node-{index + 1}", "ip", "route", "replace", *route.split())


def tell(folder: Path) -> None:
    title("what the inventory declares")
    step("validate", folder=folder)
    step("render", "--node", "node-1", folder=folder)
    title("first apply: plan, then make it so")
    step("plan", folder=folder)
    step("apply", "--yes", folder=folder)
    title("traffic: on every node, and from every node to every other")
    route_the_fabric()
    step("verify", "--mesh", folder=folder)
    title("second apply: nothing to do")
    step("apply", "--yes", folder=folder)
    step("diff", folder=folder)
    title("somebody edits a conflist on node-2 by hand")
    on_node("node-2", "sed", "-i", "s/cni0/cni7/", "/etc/cni/net.d/10-pods.conflist")
    step("diff", expect=2, folder=folder)
    step("apply", "--yes", folder=folder)
    title("a change for the fleet, and back again")
    smaller = '{"cni_networks__mtu": [{"name": "pods", "parameters": {"mtu": 1400}}]}'
    step("apply", "--yes", "-e", smaller, folder=folder)
    step("rollback", "--yes", folder=folder)
    step("diff", folder=folder)
    step("status", folder=folder)


def main() -> int:
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cni-provision-demo-")))
            title(f"a lab: {NODES} nodes on this machine, each with its own SSH server")
            stack.enter_context(lab())
            write_inventory(folder)
            tell(folder)
    except StepFailed as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        return 1
    print(f"\ndemo: every step ended as documented, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
