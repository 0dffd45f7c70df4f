"""A program that stands for a plugin while `exec --trace` looks: `python recording.py PLUGIN FOLDER` runs PLUGIN with
the same environment, stdin, stdout, stderr and ending, and writes what went through into FOLDER.

It stands alone, so that it starts fast; whoever started the plugin waits for it as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

PARENT = "CNI_PROVISION_TRACE"  # the record of the plugin that executes this one


def main(program: str, folder: str) -> int:
    """Returns the exit code, and does not return where the plugin was ended by a signal."""
    told = sys.stdin.buffer.read()
    own = f"{time.time_ns()}-{os.getpid()}"
    began = time.monotonic()
    environment = {**os.environ, PARENT: own}
    done = subprocess.run([program], input=told, capture_output=True, env=environment, check=False)
    seconds = time.monotonic() - began
    record = {
        "parent": os.environ.get(PARENT, ""),
        "command": os.environ.get("CNI_COMMAND", ""),
        "plugin": os.path.basename(program),
        "code": done.returncode,
        "seconds": seconds,
        **{name: text.decode("utf-8", "replace") for name, text in zip(STREAMS, (told, done.stdout, done.stderr))},
    }
    with open(os.open(os.path.join(folder, own), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(record, file)
    os.write(2, done.stderr)
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.buffer.flush()
    if done.returncode < 0:
        signal.signal(-done.returncode, signal.SIG_DFL)
        os.kill(os.getpid(), -done.returncode)
    return done.returncode


STREAMS = ("stdin", "stdout", "stderr")

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
