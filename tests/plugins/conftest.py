"""A host and containers as namespaces of their own, and CNI plugins executed between them as a runtime would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cni_provision.node import paths
from tests import built as executables
from tests.built import CAN_BE_SERVED, Built, build, compile_for
from tests.warm import SOCKET, Nursery

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("/usr/lib/cni")  # where Debian puts the reference plugins
SHIM = """#!{python} -IS
import importlib, sys
sys.path[:0] = [{root!r}, {root!r} + "/plugins"]
from cni_provision.cni import skel
sys.exit(skel.main(importlib.import_module({module!r}).PLUGIN))
"""
# How plugins are executed: built ones, with a server in the host or without. Another Python is given to shims that
# run the sources.
PYTHON = os.environ.get("CNI_PROVISION_TEST_PYTHON")
WAYS = ("shim",) if PYTHON else ("cold", "warm") if CAN_BE_SERVED else ("cold",)
# the host has a /run of its own too: the lock files of plugins are there; and a /var/lib for what apply compiles
HOLD_HOST = (
    "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && ip link set lo up && echo ready && exec cat"
)
HOLD_CONTAINER = "echo ready && exec cat"
QUICK = ("dad_transmits", "router_solicitation_delay")


@dataclass(frozen=True)
class Namespace:
    """A network and mount namespace, held by a process that ends when its standard input does."""

    pid: int

    @property
    def path(self) -> str:
        return f"/proc/{self.pid}/ns/net"

    def end(self) -> None:
        """Let it go before the test ends; its path is gone when this returns."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def enter(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--", *argv]

    def run(self, *argv: str, check: bool = True, input: str | None = None) -> str:
        done = subprocess.run(self.enter(*argv), capture_output=True, text=True, input=input, timeout=30)
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def succeeds(self, *argv: str) -> bool:
        return subprocess.run(self.enter(*argv), capture_output=True, timeout=30).returncode == 0

    def pings(self, address: str) -> bool:
        return self.succeeds("ping", "-n", "-c1", "-W1", address)

    def ip(self, *words: str) -> list[dict]:
        """`ip -j …` as objects."""
        return json.loads(self.run("ip", "-d", "-j", *words) or "[]")

    def link(self, name: str) -> dict | None:
        """One interface with its addresses, as `ip` shows it; None when it is not there."""
        return next((one for one in self.ip("addr", "show") if one.get("ifname") == name), None)

    def links(self) -> set[str]:
        return {one["ifname"] for one in self.ip("link", "show")}

    def addresses(self, name: str) -> set[str]:
        """Global addresses of an interface, with their prefix lengths."""
        found = self.link(name)
        assert found, f"no interface {name}"
        return {f"{one['local']}/{one['prefixlen']}" for one in found["addr_info"] if one["scope"] == "global"}

    def routes(self, *words: str) -> list[dict]:
        return self.ip("route", "show", *words) + self.ip("-6", "route", "show", *words)

    def nft(self, *words: str) -> str:
        return self.run("nft", *(words or ("list", "ruleset")))


@dataclass(frozen=True)
class Outcome:
    """What a plugin answered. `result`: the JSON object on stdout, or None when it was empty."""

    code: int
    result: dict | None
    stderr: str


@dataclass
class Host:
    """Runs plugins in a host namespace; what it attached can be seen in `attached`."""

    namespace: Namespace
    path: str
    state: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def call(
        self,
        command: str,
        config: dict,
        *,
        plugin: str | None = None,
        netns: str = "",
        container_id: str = "container-1",
        ifname: str = "eth0",
        args: str = "",
        path: str | None = None,
        before: tuple[str, ...] = (),
    ) -> Outcome:
        """Execute `plugin` (default: the configuration's type).

        `before` goes in front, such as strace: it looks at the plugin, so that no server does the work.
        """
        path = path or self.path
        executable = shutil.which(plugin or config["type"], path=path)
        assert executable, f"no plugin {plugin or config['type']} in {path}"
        environment = {
            "PATH": os.defpath + ":/usr/sbin:/sbin", "CNI_COMMAND": command, "CNI_PATH": path, "CNI_NETNS": netns,
            "CNI_CONTAINERID": container_id, "CNI_IFNAME": ifname, "CNI_ARGS": args, **self.environment,
            **({"CNI_PROVISION_SOCKET": ""} if before else {}),
        }  # fmt: skip
        argv = self.namespace.enter(*before, executable)
        done = subprocess.run(
            argv, input=json.dumps(config), capture_output=True, text=True, env=environment, timeout=60
        )
        return Outcome(done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr)

    def add(self, config: dict, container: Namespace, **how) -> dict:
        """ADD that must succeed; the result."""
        outcome = self.call("ADD", config, netns=container.path, **how)
        assert outcome.code == 0, outcome
        assert outcome.result is not None
        return outcome.result

    def delete(self, config: dict, container: Namespace | None, **how) -> None:
        """DEL that must succeed and say nothing."""
        outcome = self.call("DEL", config, netns=container.path if container else "", **how)
        assert (outcome.code, outcome.result) == (0, None), outcome

    def keep_bytecode(self, folder: Path) -> None:
        """As after an `apply` that has compiled what is in the folder."""
        link = paths.BYTECODE
        self.namespace.run("sh", "-c", 'mkdir -p "${1%/*}" && ln -sfn "$2" "$1"', "link", link, str(folder))

    def check(self, config: dict, container: Namespace, result: dict, **how) -> Outcome:
        return self.call("CHECK", {**config, "prevResult": result}, netns=container.path, **how)

    def faults(self, config: dict, fault: str, make: Callable[[], Namespace], most: int) -> Iterator[Namespace]:
        """The container of an ADD with a fault at its n-th message to the kernel, for n from 1 until all is well.

        An error (`error=ENOBUFS`) is undone by ADD itself, a death (`signal=KILL`) by the DEL that a runtime sends.
        """
        for number in range(1, most):
            container = make()
            inject = ("strace", "-o", "/dev/null", "-e", "trace=sendto", "-e", f"inject=sendto:{fault}:when={number}")
            outcome = self.call("ADD", config, netns=container.path, before=inject)
            if outcome.code == 0:
                return
            if fault == "signal=KILL":
                self.delete(config, container)
            else:
                assert outcome.result, outcome
                assert outcome.result["msg"], outcome
            yield container
            container.end()
        raise AssertionError(f"there are more than {most} messages")

    def leases(self, network: str) -> dict[str, str]:
        """Address → owner, as host-local keeps them when `dataDir` is `state`."""
        folder = self.state / network
        files = list(folder.glob("*")) if folder.is_dir() else []
        return {file.name: file.read_text() for file in files if "." in file.name[:4] or ":" in file.name}


@pytest.fixture
def make_namespace() -> Iterator[Callable[..., Namespace]]:
    """A function that makes namespaces; they and what is in them go when the test ends."""
    with ExitStack() as stack:

        def make(hold: str = HOLD_CONTAINER) -> Namespace:
            holder = stack.enter_context(
                subprocess.Popen(
                    ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", hold],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
            )  # fmt: skip
            stack.callback(holder.kill)  # one that ended before is fine
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            return Namespace(holder.pid)

        yield make


@pytest.fixture
def container(make_namespace: Callable[..., Namespace]) -> Namespace:
    return make_namespace()


@pytest.fixture
def make_quick(make_namespace: Callable[..., Namespace]) -> Callable[[], Namespace]:
    """The same, where the kernel believes at once that nobody else on a link has an IPv6 address."""
    values = [f"net.ipv6.conf.{which}.{key}=0" for which in ("default", "all") for key in QUICK]

    def make() -> Namespace:
        made = make_namespace()
        made.run("sysctl", "-qw", *values)
        return made

    return make


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Every file in `plugins/` as an executable."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def bytecode(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `built`, for the Python that a host's executables find."""
    return compile_for(executables.PYTHON, built, tmp_path_factory.mktemp("bytecode"))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture(scope="session")
def plugin_bin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of executables: built ones, or shims where another Python is to run the sources."""
    if not PYTHON:
        return Path(request.getfixturevalue("built").folder)
    folder = tmp_path_factory.mktemp("bin")
    for source in sorted((ROOT / "plugins").glob("*.py")):
        shim = folder / source.stem.replace("_", "-")
        shim.write_text(SHIM.format(python=PYTHON, root=str(ROOT), module=source.stem))
        shim.chmod(0o755)
    return folder


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(
    way: str,
    make_namespace: Callable[..., Namespace],
    plugin_bin: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Host]:
    """A host with our plugins, then those of the reference, in CNI_PATH.

    Where the way is warm a server runs in it; where it is cold, executables use bytecode, which is other code:
    without dataclasses and types.
    """
    made = Host(make_namespace(HOLD_HOST), f"{plugin_bin}:{REFERENCE}", tmp_path / "networks")
    if way == "cold":
        made.keep_bytecode(request.getfixturevalue("bytecode"))
    if way != "warm":
        yield made
        return
    plugins, log = request.getfixturevalue("built").plugins, tmp_path / "server.log"
    server = request.getfixturevalue("nursery").serve(plugins, log, within=made.namespace.pid, socket=SOCKET)
    yield made
    server.kill()
    lines = log.read_text()
    assert "a mistake of the server itself" not in lines, lines


@pytest.fixture
def network() -> str:
    """A network name that no other test uses."""
    return f"net-{uuid.uuid4().hex[:8]}"
