"""Debian for virtual machines, made with mmdebstrap, built once and kept below the cache folder.

Here is what all recipes share, and the guest that runs tests: its whole root is the initial RAM file system, so that
it needs no disk and no driver before its modules. `tests.vm.disk` makes machines with systemd and a disk.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import cpio

GUEST = Path(__file__).parent / "guest"
PACKAGES = (
    "python3", "iproute2", "iputils-ping", "nftables", "iptables", "conntrack", "kmod", "procps", "strace",
    "netcat-openbsd", "containernetworking-plugins", "linux-image-cloud-amd64",
)  # fmt: skip
LIBRARIES = ("pytest", "hypothesis", "pyroute2", "jinja2", "pyyaml")  # what the tests import
SUITE, PYTHON = "bookworm", "3.11"
LIBRARY_FOLDER = "opt/site"
NOT_NEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
SECONDS_TO_BUILD = 900


class CannotBuild(Exception):
    """No mirror, no room, or a recipe that is wrong; with what was said."""


@dataclass(frozen=True)
class Image:
    """Files to boot from; `root` is a cpio archive that others can be appended to."""

    kernel: Path
    root: Path


def folder() -> Path:
    named = os.environ.get("CNI_PROVISION_VM_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "cni-provision-vm"


def kept(where: Path, recipe: str, build: Callable[[Path], None]) -> Path:
    """`where`, filled anew by `build` when it is not of this recipe."""
    stamp = where / "recipe"
    if not stamp.exists() or stamp.read_text() != recipe:
        where.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        build(where)
        stamp.write_text(recipe)
    return where


def digest_of(files: Iterable[Path], *facts: str) -> str:
    """What a recipe is told by: the bytes of the files that make it, and whatever else it depends on."""
    own = b"".join(file.read_bytes() for file in files)
    return f"{hashlib.sha256(own).hexdigest()} {' '.join(facts)}\n"


def ensure(where: Path) -> Image:
    """The guest that runs tests."""
    recipe = digest_of((Path(__file__), Path(cpio.__file__), *sorted(GUEST.iterdir())), *pinned())
    try:
        kept(where, recipe, build)
    except CannotBuild as error:
        pytest.fail(str(error))
    return Image(where / "vmlinuz", where / "root.cpio")


def pinned() -> list[str]:
    """The libraries in the versions that the tests use here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in LIBRARIES]


def build(where: Path) -> None:
    with tempfile.TemporaryDirectory(dir=where) as scratch:
        debian, libraries = Path(scratch, "debian.tar"), Path(scratch, "site")
        debootstrap(debian, PACKAGES)
        run(
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
            f"--python-version={PYTHON}", f"--target={libraries}", *pinned(),
        )  # fmt: skip
        with tarfile.open(debian) as tar, (where / "root.cpio").open("wb") as out:
            (where / "vmlinuz").write_bytes(content(tar, next(one for one in tar if "/vmlinuz-" in one.name)))
            writer = cpio.Writer(out)
            for member in tar:
                if not member.name.startswith("./boot/"):
                    copy(tar, member, writer)
            add_tree(writer, libraries, LIBRARY_FOLDER)
            writer.file("init", (GUEST / "init").read_bytes(), executable=True)
            writer.file("opt/agent.py", (GUEST / "agent.py").read_bytes())
            writer.close()


def debootstrap(target: Path, packages: Sequence[str], *options: str) -> None:
    """A small Debian as a tar archive, or as a folder where `target` has no suffix. Raises CannotBuild."""
    exclude = [f"--dpkgopt=path-exclude={glob}" for glob in NOT_NEEDED]
    run("mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", *exclude, *options, SUITE, str(target))


def run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS_TO_BUILD)
    except subprocess.TimeoutExpired as error:
        raise CannotBuild(f"`{argv[0]}` took more than {SECONDS_TO_BUILD} s") from error
    if done.returncode:
        raise CannotBuild(f"`{argv[0]}` ended with {done.returncode}\n{done.stdout}{done.stderr}")


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = tar.extractfile(member)
    assert opened is not None
    with opened:
        return opened.read()


def copy(tar: tarfile.TarFile, member: tarfile.TarInfo, writer: cpio.Writer) -> None:
    """A hard link becomes a file of its own."""
    name = member.name.removeprefix("./").rstrip("/")
    if member.isdir() and name not in ("", "."):
        writer.entry(name, cpio.FOLDER | member.mode)
    elif member.issym():
        writer.entry(name, cpio.SYMLINK | 0o777, member.linkname.encode())
    elif member.isfile() or member.islnk():
        writer.entry(name, cpio.FILE | member.mode, content(tar, member))


def add_tree(writer: cpio.Writer, source: Path, target: str, wanted: Callable[[Path], bool] = Path.exists) -> None:
    """The folders and files below `source`, and `target` with the folders above it."""
    for above in (*reversed(Path(target).parents[:-1]), Path(target)):
        writer.entry(str(above), cpio.FOLDER | 0o755)
    for path in sorted(tree(source)):
        name = f"{target}/{path.relative_to(source)}"
        if path.is_dir():
            writer.entry(name, cpio.FOLDER | 0o755)
        elif wanted(path):
            writer.file(name, path.read_bytes(), executable=os.access(path, os.X_OK))


def tree(source: Path) -> Iterator[Path]:
    return (path for path in source.rglob("*") if "__pycache__" not in path.parts or source.name == "site")
