"""What a node tells about its warm server: read in a mount namespace of the test's own /run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
TOLD = """
import fcntl, json, os, sys
sys.path.insert(0, sys.argv[1])
from cni_provision.node import server
seen = [server.told()]
os.makedirs(server.FOLDER)
alive = open(f"{server.FOLDER}/alive", "w")
seen.append(server.told())
fcntl.flock(alive, fcntl.LOCK_EX)
seen.append(server.told())
for text in ('{"build": "b"}', "[]", "broken"):
    open(f"{server.FOLDER}/stat.json", "w").write(text)
    seen.append(server.told())
alive.close()
seen.append(server.told())
print(json.dumps(seen))
"""


def test_what_is_told() -> None:
    script = f'mount -t tmpfs tmpfs /run && exec "{sys.executable}" -c "$0" "{ROOT}"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, TOLD], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {},
        {"runs": False},
        {"runs": True},
        {"runs": True, "build": "b"},
        {"runs": True},
        {"runs": True},
        {"runs": False},
    ]
