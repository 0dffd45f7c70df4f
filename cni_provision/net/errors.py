"""The root of what `cni_provision.net` raises by itself."""

from __future__ import annotations


class NetError(OSError):
    """What could not be done and why, as one sentence; `errno` is for programs. Made with both."""

    def __str__(self) -> str:
        return str(self.strerror)
