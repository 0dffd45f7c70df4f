"""The works, one after the other, each with all engines alternating."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.plugins import cold, driver, packets, works
from bench.plugins.driver import Lane, Samples
from bench.plugins.engines import COLD, FLOOR, GO, WARM, Engine, build, engines, keep_bytecode, server
from bench.plugins.goals import LEASES, LOOPBACK, MASQUERADED, NONE, PLAIN, STORM
from bench.plugins.hosts import Host, host
from bench.plugins.works import Chain

STORM_RUNS = 3
MEMORY_RUNS = 3


@dataclass(frozen=True)
class Size:
    """How much is measured. `leases`: how many a network has already."""

    iterations: int = 30
    warm_up: int = 3
    pods: int = 100
    workers: int = 16
    leases: int = 10_000
    requests: int = 100_000


QUICK = Size(iterations=2, warm_up=1, pods=4, workers=2, leases=50, requests=100)


@dataclass(frozen=True)
class Bench:
    """A host with pods, our executables and a server in it."""

    host: Host
    program: Path
    nothing: Path
    engines: tuple[Engine, ...]
    digests: Mapping[str, str]
    server: int  # its process id
    size: Size

    def all(self, make: Callable[[Engine], Lane], *, memory: bool = False) -> list[Samples]:
        lanes = [make(engine) for engine in self.engines]
        iterations = MEMORY_RUNS if memory else self.size.iterations
        return driver.measure(self.program, self.host, lanes, iterations, warm_up=self.size.warm_up, memory=memory)


@contextmanager
def bench(folder: Path, peer: Path, size: Size) -> Iterator[Bench]:
    program = driver.compiled(folder, "driver", "driver.c", "floor.c")
    nothing = driver.compiled(folder, "nothing", "nothing.c")
    digests = build(folder / "bin")
    found = engines(folder / "bin", peer)
    with host(folder) as made:
        prepare(made, found, size)
        keep_bytecode(made, folder / "bin")
        with server(made, digests) as pid:
            yield Bench(made, program, nothing, found, digests, pid, size)


def prepare(made: Host, found: Sequence[Engine], size: Size) -> None:
    """Pods, and what the floor does not make itself."""
    for engine in found:
        made.make_namespaces(works.namespaces(engine, size.pods))
    floor = next(engine for engine in found if engine.name == FLOOR)
    name = works.bridge_of(floor)
    made.run("mkdir", "-p", f"{works.LEASES}/{FLOOR}")
    made.run("nft", "-f", "-", stdin=works.FLOOR_TABLE)
    made.run("ip", "link", "add", name, "address", "02:00:00:00:00:01", "type", "bridge")
    made.run("ip", "address", "add", f"{works.prefix_of(floor)}.0.1/16", "dev", name)
    made.run("ip", "link", "set", name, "up")


def singles(run: Bench) -> Iterator[tuple[str, Samples]]:
    """(work, samples) of one pod at a time."""
    for name, make in (
        (PLAIN, lambda engine: works.lane(engine, Chain("plain"))),
        (MASQUERADED, lambda engine: works.lane(engine, Chain("masquerade", masquerade=True))),
        (LOOPBACK, works.loopback),
        (NONE, lambda engine: works.version(engine, str(run.nothing))),
    ):
        say(name)
        for samples in run.all(make):
            yield name, samples


def storm(run: Bench) -> Iterator[tuple[str, Samples]]:
    say("storm")
    size = run.size
    chain = Chain("storm", True, True, ("ADD", "DEL"), size.pods, size.workers)
    chosen = [engine for engine in run.engines if engine.name != COLD]
    # the reference's first two at once would both create the iptables chains that all share, and one would fail
    alone = Chain("alone", True, True, chain.verbs)
    driver.measure(run.program, run.host, [works.lane(engine, alone) for engine in chosen], 1)
    lanes = [works.lane(engine, chain) for engine in chosen]
    for samples in driver.measure(run.program, run.host, lanes, min(STORM_RUNS, size.iterations), warm_up=1):
        yield STORM, samples


def many_leases(run: Bench) -> Iterator[tuple[str, Samples]]:
    """host-local alone in an empty network and in one with many leases; the lane is `engine-leases`."""
    say("leases")
    chosen = [engine for engine in run.engines if engine.name in (WARM, GO)]
    for engine in chosen:
        folder = run.host.state / "leases" / works.lease_network(engine, run.size.leases)
        folder.mkdir(parents=True)
        for name, content in works.lease_files(works.prefix_of(engine), run.size.leases):
            (folder / name).write_text(content)
    lanes = [works.leases(engine, taken) for engine in chosen for taken in (0, run.size.leases)]
    iterations, warm_up = run.size.iterations, run.size.warm_up
    for samples in driver.measure(run.program, run.host, lanes, iterations, warm_up=warm_up):
        yield LEASES, samples


def first_packets(run: Bench, folder: Path) -> dict[str, list[float]]:
    say("first packets")
    size = packets.QUICK if run.size == QUICK else packets.Size()
    return packets.measure(run.program, folder, run.engines, run.digests, size)


def cold_start(run: Bench, folder: Path) -> dict[str, float]:
    say("cold start")
    engine = next(one for one in run.engines if one.name == COLD)
    return cold.breakdown(run.program, run.host, folder, engine, run.size.iterations)


def memory(run: Bench) -> dict[str, int]:
    """Kilobytes of the largest process of ADD by engine, and of the server."""
    say("memory")
    found = run.all(lambda engine: works.lane(engine, Chain("memory", masquerade=True)), memory=True)
    by_engine = {one.lane: max(one.kilobytes) for one in found if one.phase == "ADD" and one.lane != FLOOR}
    return {**by_engine, "server": resident(run.server)}


def endurance(run: Bench) -> dict[str, int]:
    """Kilobytes of the server before and after many requests: half of them ADDs of host-local, half DELs."""
    say("endurance")
    engine = next(one for one in run.engines if one.name == WARM)
    lane = replace(works.leases(engine, 0), pods=run.size.pods, workers=run.size.workers)
    found = {"server": resident(run.server)}
    driver.measure(run.program, run.host, [lane], run.size.requests // (2 * run.size.pods))
    return {**found, f"server after {run.size.requests} requests more": resident(run.server)}


def resident(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0])


def say(work: str) -> None:
    print(f"bench: {work}", file=sys.stderr, flush=True)
