"""A stand-in for the node program: speaks the protocol, answers who it is, and asks for blobs when told to.

Sent to nodes as it stands: `argv` is its command line, so that transports can be tested by themselves.
Request `work`: `need` = digests to ask for, `fail_early` = answer an error before reading any blob, `die` = words
for stderr, `sleep` = seconds before the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
import time
import zlib

MARKER = b"\0CNIP\0"


def read(size: int) -> bytes:
    block = sys.stdin.buffer.read(size)
    if len(block) < size:
        sys.exit("the controller went away")
    return block


def read_frame() -> bytes:
    return read(struct.unpack(">I", read(4))[0])


def send(message: dict[str, object]) -> None:
    body = json.dumps(message).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body)
    sys.stdout.flush()


def main() -> None:
    seen = b""
    while seen != MARKER:
        seen = (seen + read(1))[-len(MARKER) :]
    read_frame()
    work = json.loads(read_frame()).get("work", {})
    if "die" in work:
        sys.exit(work["die"])
    time.sleep(work.get("sleep", 0))
    sys.stdout.buffer.write(MARKER)
    facts = {"uid": os.getuid(), "host": os.uname().nodename, "blobs": []}
    if work.get("need"):
        send({"need": work["need"]})
        if work.get("fail_early"):
            send({"error": {"reason": "failed", "message": "no space left", "hint": "free some"}})
            return
        while frame := read_frame():
            facts["blobs"].append(hashlib.sha256(zlib.decompress(frame[32:])).hexdigest())
    send({"facts": facts, "generation": 7, "applied": True})


if __name__ == "__main__":
    main()
