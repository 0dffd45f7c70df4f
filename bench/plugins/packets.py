"""The first packet of a connection through few and through many port mappings, each number on a host of its own.

A client behind the host connects to the port that was mapped last; the container's end of it is in the kernel only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.plugins import driver, works
from bench.plugins.driver import Lane, Phase
from bench.plugins.engines import GO, WARM, Engine, server
from bench.plugins.hosts import Host, host

CLIENT, POD = "192.0.2", "198.51.100"  # the host's ends have .1
TARGET_PORT = 80
LINKS = """
link add to-{name} type veth peer name eth0 netns {name}
address add {prefix}.1/24 dev to-{name}
link set to-{name} up
-n {name} address add {prefix}.2/24 dev eth0
-n {name} link set eth0 up
-n {name} route add default via {prefix}.1
"""
SECONDS = 600.0


@dataclass(frozen=True)
class Size:
    few: int = 10
    many: int = 1000
    rounds: int = 2000


QUICK = Size(few=2, many=5, rounds=20)


def measure(
    program: Path, folder: Path, engines: Sequence[Engine], digests: Mapping[str, str], size: Size
) -> dict[str, list[float]]:
    """Microseconds (medians) by engine: with few mappings, with many."""
    packets = driver.compiled(folder, "packets", "packets.c")
    chosen = [engine for engine in engines if engine.name in (WARM, GO)]
    cases = [(engine, count) for engine in chosen for count in (size.few, size.many)]
    with ExitStack() as stack:
        ways: list[str] = []
        for engine, count in cases:
            made = stack.enter_context(host(folder / f"{engine.name}-{count}"))
            if engine.name == WARM:
                stack.enter_context(server(made, digests))
            prepare(program, made, engine, count)
            ways += way(made, count)
        argv = [str(packets), str(size.rounds), *ways]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
    medians = [median(float(word) for word in line.split()) for line in done.stdout.splitlines()]
    return {engine.name: medians[2 * index : 2 * index + 2] for index, engine in enumerate(chosen)}


def way(made: Host, count: int) -> list[str]:
    """What packets.c connects: from, to, by which address and port."""
    folder = f"/proc/{made.pid}/root/run/netns"
    return [f"{folder}/client", f"{folder}/pod", f"{CLIENT}.1", str(works.FIRST_PORT + count - 1), str(TARGET_PORT)]


def prepare(program: Path, made: Host, engine: Engine, count: int) -> None:
    """A client, a container, and so many mappings to it, each of an attachment of its own."""
    made.make_namespaces(("client", "pod"))
    made.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    for name, prefix in (("client", CLIENT), ("pod", POD)):
        for line in LINKS.format(name=name, prefix=prefix).strip().splitlines():
            made.run("ip", *line.split())
    result = {"cniVersion": works.VERSION, "interfaces": [{"name": "eth0", "sandbox": "/run/netns/pod"}],
              "ips": [{"address": f"{POD}.2/24", "interface": 0}]}  # fmt: skip
    config = works.text({**works.portmap_config(works.Chain("packets")), "prevResult": result})
    add, delete = (engine.step("portmap", verb, config, "/run/netns/pod", works.CONTAINER) for verb in ("ADD", "DEL"))
    # the reference's first two at once would both create the iptables chains that all share, and one would fail
    alone = Lane("alone", (Phase("ADD", (add,)), Phase("DEL", (delete,))))
    driver.measure(program, made, [alone, Lane(engine.name, (Phase("ADD", (add,)),), pods=count, workers=2)], 1)
