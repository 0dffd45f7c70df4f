"""The guest: a small Debian as a kernel and an initial RAM file system, built once and kept.

The whole root is the initial RAM file system, so that the guest needs no disk and no driver before its modules.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Image:
    """Files to boot from; `root` is a cpio archive that others can be appended to."""

    kernel: Path
    root: Path


def folder() -> Path:
    named = os.environ.get("CNI_PROVISION_VM_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "cni-provision-vm"


def ensure(where: Path) -> Image:
    """The image in `where`, built anew when it is not of this recipe."""
    image, stamp = Image(where / "vmlinuz", where / "root.cpio"), where / "recipe"
    if not stamp.exists() or stamp.read_text() != recipe():
        where.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=where) as scratch:
            build(Path(scratch), image)
        stamp.write_text(recipe())
    return image


def recipe() -> str:
    own = b"".join(file.read_bytes() for file in (Path(__file__), Path(cpio.__file__), *sorted(GUEST.iterdir())))
    return f"{hashlib.sha256(own).hexdigest()} {' '.join(pinned())}\n"


def pinned() -> list[str]:
    """The libraries in the versions that the tests use here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in LIBRARIES]


def build(scratch: Path, image: Image) -> None:
    debian, libraries = scratch / "debian.tar", scratch / "site"
    exclude = [f"--dpkgopt=path-exclude={glob}" for glob in NOT_NEEDED]
    run("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", *exclude, SUITE, str(debian))
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
        f"--python-version={PYTHON}", f"--target={libraries}", *pinned(),
    )  # fmt: skip
    with tarfile.open(debian) as tar, image.root.open("wb") as out:
        image.kernel.write_bytes(content(tar, next(one for one in tar if "/vmlinuz-" in one.name)))
        writer = cpio.Writer(out)
        for member in tar:
            if not member.name.startswith("./boot/"):
                copy(tar, member, writer)
        add_tree(writer, libraries, LIBRARY_FOLDER)
        writer.file("init", (GUEST / "init").read_bytes(), executable=True)
        writer.file("opt/agent.py", (GUEST / "agent.py").read_bytes())
        writer.close()


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS_TO_BUILD)
    if done.returncode:
        pytest.fail(f"cannot build the guest: `{argv[0]}` ended with {done.returncode}\n{done.stdout}{done.stderr}")


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
