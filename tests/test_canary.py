"""A whole life of two nodes with secrets in their declarations: they are nowhere but where they must be.

Every command is traced, and so are the nodes' SSH servers with all that they start: what was executed with which
arguments and environment, and every write to a file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cni_provision import lab
from cni_provision.lab.users import PASSWORD
from tests import traced
from tests.cli.conftest import PROGRAM
from tests.inventory import peers
from tests.lab_fixture import on
from tests.traced import Canary

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.skipif(not shutil.which("strace"), reason="no strace")]

CASE = Path(__file__).parent / "cases" / "canary"
TOKEN, ANOTHER = Canary("token", "canary-env-7f3a91c2e4"), Canary("second token", "canary-new-51d8e0b7aa")
KEY, MOVED = (
    Canary("sysctl", "c0ffee01-5eed5eed-0badcafe-7f3a91c2"),
    Canary("moved", "facade02-12345678-9abcdef0-11223344"),
)
TYPED, VAULTED = Canary("typed", "canary typed 3e91d07a55"), Canary("vaulted", "canary-vault-4b60c9d3f1")
LOGIN = Canary("become password", PASSWORD)
CANARIES = (TOKEN, ANOTHER, KEY, MOVED, TYPED, VAULTED, LOGIN)
FROM_ENVIRONMENT = (TOKEN, ANOTHER, KEY)
# Where the exact bytes must be, for their owner alone: on nodes, and the saved plan.
KEPT = re.compile(
    r"/etc/cni/net\.d/(\.cnip-)?(10-pods|20-typed|40-vaulted)\.conflist(\.tmp)?"
    r"|/etc/sysctl\.d/(\.cnip-)?90-cni-provision\.conf(\.tmp)?"
    r"|/var/lib/cni-provision/blobs/[^/]*"
    # the result cache of a probe has the configuration, as any runtime's has
    r"|/run/cni-provision/probe/cni-provision/[0-9a-f]*\.result"
)
# The same here: what was asked for by name, and the folder with the node's files that `exec` makes.
HERE = re.compile(
    r".*/inventory/(rendered/.*|[.a-z]+\.plan.*)"
    r"|.*/tmp/cni-provision-exec-\w+/net\.d/[^/]*\.conflist"
    r"|/var/lib/cni/(results|cni-provision)/[^/]*"
)
MARK = "/run/before"
LIVE = "/proc/sys/net/ipv4/tcp_fastopen_key"


@dataclass
class Life:
    """Two nodes, a folder with their inventory, and everything that was said and done."""

    there: lab.Lab
    folder: Path
    reader: str
    environment: dict[str, str]
    logs: list[Path] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def run(self, *words: str, expect: int = 0, within: tuple[str, ...] = ()) -> str:
        """One command, traced; its output, searched."""
        self.logs.append(self.folder.parent / f"{len(self.logs)}-{words[0]}.strace")
        argv = traced.traced([*within, PROGRAM, *words, *self.options(words[0])], self.logs[-1])
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=300
        )
        said = done.stdout + done.stderr
        print(f"--- {' '.join(words)}\n{said.decode()}")
        assert done.returncode == expect, words
        self.search(said, f"output of `{' '.join(words)}`")
        return said.decode()

    def options(self, command: str) -> list[str]:
        reading = ["--reader", "ansible", "--vault-id", "vault-password"] if self.reader == "ansible" else []
        asked = command in ("plan", "diff", "apply", "rollback", "remove", "verify", "status")
        return reading + (["--become-password-file", "become-password"] if asked else [])

    def search(self, content: bytes, where: str, canaries: tuple[Canary, ...] = CANARIES) -> None:
        for canary in canaries:
            self.leaks += [f"{canary.name} ({face}) in {where}" for face in canary.seen_in(content)]


@pytest.fixture(scope="module")
def there() -> Iterator[lab.Lab]:
    name = f"canary-{os.getpid()}"
    yield lab.up(2, name)
    lab.down(name)


def vaulted(value: str, folder: Path) -> str:
    """Ciphertext as `ansible-vault` writes it."""
    (folder / "vault-password").write_text("open sesame\n")
    program = peers.python("2.19").with_name("ansible-vault")
    argv = [program, "encrypt_string", "--vault-id", "vault-password", "--stdin-name", "vaulted"]
    return subprocess.run(argv, cwd=folder, input=value, capture_output=True, text=True, check=True).stdout


@pytest.fixture(params=["own", pytest.param("ansible", marks=pytest.mark.minutes)])
def life(request: pytest.FixtureRequest, there: lab.Lab, tmp_path: Path) -> Life:
    folder = tmp_path / "inventory"
    shutil.copytree(CASE, folder)
    for name, dead in (("hosts.yaml", False), ("three.yaml", True)):
        (folder / name).write_text(lab.inventory(there, user="ops", dead=dead))
    (folder / "become-password").write_text(PASSWORD + "\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CNI_")}
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    environment = {**kept, "TMPDIR": str(scratch), "CANARY_TOKEN": TOKEN.value, "CANARY_KEY": KEY.value}
    if request.param == "ansible":
        with (folder / "group_vars" / "all.yaml").open("a") as file:
            file.write(vaulted(VAULTED.value, folder) + VAULTED_NETWORK)
        environment["CNI_PROVISION_ANSIBLE"] = str(peers.python("2.19").with_name("ansible"))
    return Life(there, folder, request.param, environment)


VAULTED_NETWORK = """\
cni_networks__vaulted:
- {name: vaulted, order: 40, plugins: [{type: bridge, bridge: cni4}, {type: keeper, secret: "x{{ vaulted }}"}]}
"""


def test_secrets_are_nowhere_but_where_they_must_be(life: Life, there: lab.Lab, tmp_path: Path) -> None:
    log = tmp_path / "nodes.strace"
    for node in there.nodes:
        on(there, node.name, "touch", MARK)
    with traced.attached(servers(there), log):
        live(life)
    look_at_executions(life, log, CANARIES)
    look_at_writes(life, log, re.compile(f"{KEPT.pattern}|{LIVE}"))
    for each in life.logs:
        look_at_executions(life, each, tuple(canary for canary in CANARIES if canary not in FROM_ENVIRONMENT))
        look_at_writes(life, each, HERE)
    look_at_temporary_files(life)
    for name in ("node-1", "node-2"):
        look_at(life, name)
    assert not life.leaks, "\n".join(life.leaks)


def servers(there: lab.Lab) -> list[int]:
    """The SSH servers of the nodes."""
    return [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and name_of(pid) == "sshd" and any(same_mounts(pid, node.pid) for node in there.nodes)
    ]


def name_of(pid: str) -> str:
    try:
        return Path("/proc", pid, "comm").read_text().strip()
    except OSError:
        return ""


def same_mounts(pid: str, other: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{other}/ns/mnt")
    except OSError:
        return False


def live(life: Life) -> None:
    """Everything that one does with nodes, and what goes wrong with them."""
    look_first(life)
    life.run("apply", "--yes", "-v", "first.plan")
    life.run("apply", "--yes", "--json", "--all-or-none")
    life.run("verify", "-v")
    life.run("status", "--json")
    if life.reader == "own":
        change(life)
    attach(life)
    life.run("remove", "--yes", "--json")


def look_first(life: Life) -> None:
    """What reads only; the plan is saved."""
    life.run("validate", "--json")
    assert "Bearer" not in life.run("render", "--json")
    life.run("render", "-o", "rendered")
    life.run("plan", "-v")
    life.run("plan", "--json", "--out", "first.plan")
    life.run("diff", expect=2)


def change(life: Life) -> None:
    """Another secret in the place of the first: neither is shown, on the way there and back."""
    life.environment["CANARY_TOKEN"] = ANOTHER.value
    life.run("plan", "-v", "--out", "second.plan")
    life.run("diff", "--json", expect=2)
    life.run("apply", "--yes", "-v", "-i", "three.yaml", expect=4)
    assert (life.folder / "three.yaml.retry").read_text() == "dead\n"
    drift(life)
    life.run("rollback", "--yes", "--json", "--to", "1")


def drift(life: Life) -> None:
    """Somebody else writes a conflist and a live value; what is planned before that is refused."""
    life.run("plan", "--out", "third.plan")
    for name in ("node-1", "node-2"):
        on(life.there, name, "sed", "-i", "s/cni0/cni7/", "/etc/cni/net.d/10-pods.conflist")
        on(life.there, name, "sh", "-c", f"echo {MOVED.value} > {LIVE}")
    life.run("apply", "--yes", "third.plan", expect=3)
    life.run("verify", expect=2)
    life.run("plan", "-v", "--json")
    life.run("diff", expect=2)
    life.run("apply", "--yes", "-v", "--debug")


def attach(life: Life) -> None:
    """Plugins on this machine, with all that they get and say."""
    for network in ("pods", "typed"):
        for more in ((), ("--json",)):
            words = ("--node", "node-1", "-i", "hosts.yaml", "--trace", *more)
            said = life.run("exec", "add", network, *words, within=ALONE)
            assert "(secret)" in said


HIDE = 'for folder in /var/lib/cni /run; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done; exec "$@"'
ALONE = ("unshare", "--net", "--mount", "sh", "-ec", HIDE, "sh")


def look_at(life: Life, node: str) -> None:
    """What is left on a node, by name and content."""
    folders = ("/etc", "/opt", "/var", "/run", "/tmp", "/root", "/home", "/usr/local")
    command = f'find "$@" -xdev -newer {MARK} -type f -exec stat -c "%a %n" {{}} +'
    for line in on(life.there, node, "sh", "-c", command, "sh", *folders).splitlines():
        mode, _, path = line.partition(" ")
        content = (Path("/proc", str(life.there.node(node).pid), "root") / path.lstrip("/")).read_bytes()
        if not (KEPT.fullmatch(path) and mode == "600") and not is_of_this_machine(Path(path), content):
            life.search(content, f"{node}:{path} of mode {mode}")


def is_of_this_machine(path: Path, content: bytes) -> bool:
    """Whether a node's file is what lies below all nodes' files: this very test may stand there."""
    return path.is_file() and path.read_bytes() == content


def look_at_temporary_files(life: Life) -> None:
    assert not list((life.folder.parent / "tmp").iterdir())


def look_at_writes(life: Life, log: Path, allowed: re.Pattern[str]) -> None:
    """Every write to a file while the run lasted, also to those that are gone."""
    if betrays(log, CANARIES):
        for path, line in traced.writes(log):
            if not allowed.fullmatch(path):
                life.search(line, f"what was written to {path}")


def look_at_executions(life: Life, log: Path, canaries: tuple[Canary, ...]) -> None:
    if betrays(log, canaries):
        for line in traced.executions(log):
            life.search(line, f"the execution {line[:120].decode()}", canaries)


def betrays(log: Path, canaries: tuple[Canary, ...]) -> bool:
    content = log.read_bytes()
    return any(canary.seen_in(content) for canary in canaries)
