"""Root file systems of containers and their images: busybox, statically linked, and links to it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "sleep", "ip", "nc", "httpd", "ping", "cat", "echo", "mkdir")
FOLDERS = ("bin", "etc", "tmp", "proc", "sys", "dev", "run", "var")


def tree() -> bytes:
    """A tar of the root file system."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in FOLDERS:
            _add(archive, name, kind=tarfile.DIRTYPE)
        _add(archive, "bin/busybox", BUSYBOX.read_bytes())
        for name in APPLETS:
            _add(archive, f"bin/{name}", kind=tarfile.SYMTYPE, link="busybox")
    return buffer.getvalue()


def image(name: str, command: list[str]) -> bytes:
    """What `docker save` would have written."""
    layer = tree()
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Cmd": command, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "layer.tar", layer)
        _add(archive, "config.json", json.dumps(config).encode())
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return buffer.getvalue()


def _add(
    archive: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, 0o755, len(content), link
    archive.addfile(entry, io.BytesIO(content))
