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


@contextmanager
def namespace(wanted: str) -> Iterator[str]:
    """The path of the namespace that is asked for; a new one lives as long as the block."""
    if wanted != NEW:
        yield wanted
        return
    with ExitStack() as stack:
        descriptor = netns.create()
        stack.callback(os.close, descriptor)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"


@contextmanager
def kept() -> Iterator[str]:
    """A new namespace that stays when the block succeeds: mounted where `ip netns` looks. Raises `UserError`."""
    KEPT.mkdir(parents=True, exist_ok=True)
    target = KEPT / f"{PREFIX}{secrets.token_hex(4)}"
    with ExitStack() as stack:
        target.touch(mode=0o444, exist_ok=False)
        stack.callback(release, str(target))
        descriptor = netns.create()
        try:
            mount("--bind", f"/proc/{os.getpid()}/fd/{descriptor}", str(target))
        finally:
            os.close(descriptor)
        yield str(target)
        stack.pop_all()


def release(path: str) -> None:
    """Remove a namespace that `keep` made; any other is somebody else's."""
    target = Path(path)
    if target.parent == KEPT and target.name.startswith(PREFIX) and target.exists():
        subprocess.run(["umount", "--lazy", str(target)], check=False, capture_output=True)
        target.unlink(missing_ok=True)


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"cannot keep the namespace: {done.stderr.strip()}", hint="this needs root")
