"""An apply that dies or fails at a system call of one's choice, by strace, and what must hold afterwards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cni_provision.node.protocol import Reload, Request
from cni_provision.plan import Live
from tests.node.conftest import Bytes, Ended, Node, request

COMMITTED = "/var/lib/cni-provision/txn/2.json"
RECORD = "/var/lib/cni-provision/generations/2.json"
CONF_DIR = "/etc/cni/net.d/"
LOADED = (".conf", ".conflist", ".json")
FOLDERS = "/etc/cni /opt/cni /etc/sysctl.d /var/lib/cni-provision"
FORWARDING = "net.ipv4.ip_forward"
CAPABILITY = "0100000200200000000000000000000000000000"  # version 2, cap_net_raw effective and permitted
GIVE = "import os, sys; os.setxattr('/opt/cni/bin/bridge', 'security.capability', bytes.fromhex(sys.argv[1]))"

OLD = (
    Bytes()
    .plugin("bridge", b"bridge 1")
    .plugin("vlan", b"vlan 1")
    .conflist("10-pods.conflist", b'{"plugins": "bridge vlan"}')
    .file("/opt/cni/old/folder/file", b"going")
)
NEW = (
    Bytes()
    .plugin("bridge", b"bridge 2")
    .plugin("ptp", b"ptp 2")
    .conflist("20-pods.conflist", b'{"plugins": "bridge ptp"}')
    .file("/etc/sysctl.d/90-cni.conf", b"net.ipv4.ip_forward = 1\n")
    .file("/opt/cni/new/folder/file", b"deep")
    .live(Live("sysctl", FORWARDING, "1"))
)
NOTE = Reload("note", ("sh", "-c", "echo done > /run/noted"), ("/etc/sysctl.d/90-cni.conf",))
TO_OLD = request(OLD)
TO_NEW = request(NEW, reloads=(NOTE,))
RECOVER = request(Bytes(), only=("verify",))
Tree = Mapping[str, tuple[object, ...]]

# what changes anything that others see or that outlasts the process
CALLS = (
    "openat", "creat", "write", "pwrite64", "writev", "sendfile", "copy_file_range", "truncate", "ftruncate",
    "fallocate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link",
    "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat",
    "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "utimensat", "fsync", "fdatasync",
    "connect", "sendto", "sendmsg", "execve", "clone", "clone3", "fork", "vfork", "mount", "flock",
)  # fmt: skip
LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)")
OPENS_TO_WRITE = re.compile(r"O_(CREAT|TRUNC|WRONLY|RDWR)")
ANOTHER_EACH_TIME = ("clone", "vfork")
BEGUN_ANEW = "ERESTART"  # by the kernel, which was busy; strace counts both
NO_FILE = re.compile(r"^\d+<(pipe|socket|/dev/null|anon)")


@dataclass(frozen=True)
class Call:
    """The `number`-th call of `name` in a run."""

    name: str
    number: int
    text: str

    @property
    def arguments(self) -> str:
        """What stands between the parentheses, without what was answered; empty where that is another each time."""
        return (
            ""
            if self.name in ANOTHER_EACH_TIME
            else self.text.partition("(")[2].rpartition(" = ")[0].rpartition(")")[0]
        )


def images(node: Node) -> tuple[Tree, Tree]:
    """The node before and after the run that will be hurt; it is left in the first, saved as `old`."""
    node.shell(f"sysctl -qw {FORWARDING}=0")
    node.ask(TO_OLD, OLD.contents)
    node.python(GIVE, CAPABILITY)
    save(node, "old")
    old = node.tree()
    node.ask(TO_NEW, NEW.contents)
    new = node.tree()
    restore(node, "old")
    assert node.tree() == old != new
    return old, new


def save(node: Node, name: str) -> None:
    """Keep all of the node for `restore`; blobs of the new state are not in `old`, so that they must come again."""
    folder = f"/run/saved/{name}"
    node.shell(
        f"mkdir -p {folder} && cp -a --parents {FOLDERS} {folder} && sysctl -n {FORWARDING} > {folder}.sysctl;"
        f"if [ -e /run/noted ]; then touch {folder}.noted; fi"
    )


def restore(node: Node, name: str) -> None:
    """The node as it was saved."""
    folder = f"/run/saved/{name}"
    node.shell(
        f"for folder in {FOLDERS}; do find $folder -mindepth 1 -delete; done; rm -f /run/noted; cp -a {folder}/* /;"
        f"sysctl -qw {FORWARDING}=$(cat {folder}.sysctl); if [ -e {folder}.noted ]; then touch /run/noted; fi"
    )


def is_whole(node: Node) -> bool:
    """Each conflist's plugins exist, and a runtime would load nothing else."""
    tree = node.tree()
    loaded = {
        path: node.path(path).read_text() for path in tree if path.startswith(CONF_DIR) and path.endswith(LOADED)
    }
    named = {name for text in loaded.values() for name in text.split('"')[3].split()}
    known = {f"{CONF_DIR}10-pods.conflist", f"{CONF_DIR}20-pods.conflist"}
    return bool(loaded) and set(loaded) <= known and all(f"/opt/cni/bin/{name}" in tree for name in named)


def which(node: Node, old: Tree, new: Tree) -> str:
    """`old` or `new` where files, the live value and the reload agree with each other, else what does not."""
    forwarding, tree = node.shell(f"sysctl -n {FORWARDING}").strip(), node.tree()
    if tree == new and forwarding == "1" and node.path("/run/noted").exists():
        return "new"
    if tree == old and forwarding == "0":
        return "old"
    wrong = {path for path in {*tree, *old, *new} if tree.get(path) not in (old.get(path), new.get(path))}
    return f"mixed: forwarding {forwarding}, noted {node.path('/run/noted').exists()}, {sorted(tree)}, {wrong}"


def hurt(node: Node, asked: Request, *effects: str) -> Ended:
    """Ask, with effects such as `rename:signal=KILL:when=3`."""
    injected = [word for effect in effects for word in ("-e", f"inject={effect}")]
    traced = ",".join(effect.partition(":")[0] for effect in effects)
    trace = ["strace", "-qq", "-y", "-s", "200", "-o", "/run/trace", "-e", f"trace={traced}", *injected]
    return node.ask(asked, NEW.contents, trace=trace)


def was_hit(node: Node) -> bool:
    text = node.path("/run/trace").read_text()
    return "(INJECTED)" in text or "killed by SIGKILL" in text


def calls_of(node: Node, asked: Request) -> list[Call]:
    """Every call of a whole run that changes something, in order; the node has run it then."""
    trace = ["strace", "-qq", "-y", "-s", "200", "-o", "/run/trace", "-e", f"trace={','.join(CALLS)}"]
    node.ask(asked, NEW.contents, trace=trace)
    return list(_mutating(node.path("/run/trace").read_text().splitlines()))


def _mutating(lines: Sequence[str]) -> Iterator[Call]:
    seen: Counter[str] = Counter()
    for line in lines:
        found = LINE.match(line)
        if found and BEGUN_ANEW not in line:
            name, arguments = found.groups()
            seen[name] += 1
            if _changes(name, arguments):
                yield Call(name, seen[name], line)


def _changes(name: str, arguments: str) -> bool:
    if name == "openat":
        return bool(OPENS_TO_WRITE.search(arguments)) and "/dev/null" not in arguments
    return name != "execve" and not NO_FILE.match(arguments)


def die_half_way(node: Node) -> None:
    """Leave an apply behind that was killed between its commit point and its end."""
    hurt(node, TO_NEW, "rename:signal=KILL:when=11")
    assert node.path(COMMITTED).exists()
