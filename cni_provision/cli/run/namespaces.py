"""The network namespaces of `exec`: a throwaway one, or one that stays until it is released."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cni_provision.cli.run.attaching import NEW
from cni_provision.errors import UserError
from cni_provision.net import netns

KEPT = Path("/run/netns")
PREFIX = "cni-provision-"
ROOT = "this needs root"


@contextmanager
def namespace(wanted: str) -> Iterator[str]:
    """The path of the namespace that is asked for; a new one lives as long as the block. Raises `UserError`."""
    if wanted != NEW:
        yield wanted
        return
    with created() as descriptor:
        yield f"/proc/{os.getpid()}/fd/{descriptor}"


@contextmanager
def kept() -> Iterator[str]:
    """A new namespace that stays when the block succeeds: mounted where `ip netns` looks. Raises `UserError`."""
    target = KEPT / f"{PREFIX}{secrets.token_hex(4)}"
    with ExitStack() as stack:
        with created() as descriptor:
            KEPT.mkdir(parents=True, exist_ok=True)
            target.touch(mode=0o444, exist_ok=False)
            stack.callback(release, str(target))
            mount("--bind", f"/proc/{os.getpid()}/fd/{descriptor}", str(target))
        yield str(target)
        stack.pop_all()


@contextmanager
def created() -> Iterator[int]:
    """A descriptor of a new namespace; raises `UserError` where we may not make one."""
    try:
        descriptor = netns.create()
    except OSError as error:
        raise UserError(f"cannot make a network namespace: {os.strerror(error.errno or 0)}", hint=ROOT) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def release(path: str) -> None:
    """Remove a namespace that `keep` made; any other is somebody else's."""
    target = Path(path)
    if target.parent == KEPT and target.name.startswith(PREFIX) and target.exists():
        subprocess.run(["umount", "--lazy", str(target)], check=False, capture_output=True)
        target.unlink(missing_ok=True)


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"cannot keep the namespace: {done.stderr.strip()}", hint=ROOT)
