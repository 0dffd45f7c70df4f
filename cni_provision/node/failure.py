"""Why a node refuses or fails, as it travels to the controller: `{reason, message, hint}`."""

from __future__ import annotations

import errno
from typing import Any, Optional

FREE_SPACE = "free space on that file system, then apply again"
HINTS = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EROFS: "remount it writable, or declare other folders (or no services) in `cni_runtime`",
    errno.EACCES: "the login must be root or become root: `ansible_become: true`",
    errno.EPERM: "look for an immutable file (`lsattr`) or a security module that forbids it",
    errno.EIO: "the disk has errors: see the kernel log of the node",
}
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Failure(Exception):
    """`reason` is conflict, busy or failed, as in `cni_provision.errors`."""

    def __init__(self, message: str, *, reason: str = "failed", hint: Optional[str] = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The `error` of a reply."""
        return {"reason": self.reason, "message": self.message, "hint": self.hint}


def of_system(error: OSError, doing: str = "") -> Failure:
    """A failed system call in words: what was being done, to what, why, and how to mend it."""
    where = f" `{error.filename}`" if isinstance(error.filename, str) else ""
    verb = doing or ("write" if error.errno in CANNOT_WRITE else "use")
    what = f"cannot {verb}{where or ' a file'}"
    return Failure(f"{what}: {error.strerror or error}", hint=HINTS.get(error.errno or 0))
